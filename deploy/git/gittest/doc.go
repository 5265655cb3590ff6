// Package gittest makes git repositories for tests, with git itself: a [Repository] for each test that wants one, in a
// directory of the test's own, away from the user's configuration. Equal content gives equal oids: names and times are
// fixed.
package gittest
