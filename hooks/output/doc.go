// Package output is what the user of a run reads while it works: lines, progress, and errors put into lines.
//
// An [Output] sends a line at a time to a pusher's terminal, to an installed hook's standard error, or to a log, and
// tells in regular intervals how far a long step is. [Explain] words an error with its remedy. Text from outside, such
// as a commit's subject, can do nothing to a terminal.
package output
