// Package turns shares out how many deploys are read and stored at a time, so that no key keeps the others waiting.
//
// A run takes as many turns as it reads trees at once. A key may have half of the turns, whatever it has waiting.
//
// # Memory
//
// What git takes to read is bounded for all runs together. That memory is shared out with the turns: a run has as many
// equal parts of it as it has turns. Most need a fraction of one. Where git wants more than that, an object that is
// stored as a delta of a large file for example, the run gives its turns back, waits for all of them, and reads again
// with all of the memory. What does not fit then is refused.
//
// Verdicts are taken without a turn: they read commits, and each run may take [WithoutTurn] for them. It is counted
// with the push, whose own processes have little to do then (gitserver).
//
// # Work that runs alone
//
// [Quiet] keeps deploys away while something must run alone.
package turns
