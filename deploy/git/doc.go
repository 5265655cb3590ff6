// Package git runs the system's git.
//
// # Oids
//
// An oid is an [OID]: tree.OID, declared in deploy/tree, which is below this package and whose nodes have oids. Packages
// that import this one write git.OID; deploy and what is below it, which need not, write tree.OID.
package git
