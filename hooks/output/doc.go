// Package output brings what a run says to its user while it works: lines and progress. Package words says it.
//
// An [Output] sends a line at a time to a pusher's terminal, to an installed hook's standard error, or to a log, and
// tells in regular intervals how far a long step is. Text from outside, such as a commit's subject, can do nothing to a
// terminal.
package output
