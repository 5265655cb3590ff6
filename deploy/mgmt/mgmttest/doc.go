// Package mgmttest reads keys and values as a running mgmt would, and is stricter: for tests.
//
// It was written from what is known of mgmt (the documentation of package mgmt, under "Format"), and not from the
// encoder there: it has types and checks of its own, and imports no other package of refship's.
//
// Keys are without the namespace, as mgmt's own client sees them, and begin with a slash: /deploy/1/payload. Below
// takes the namespace off.
//
// # Concurrency
//
// All functions may be called at the same time. A Deploy is a plain value.
package mgmttest
