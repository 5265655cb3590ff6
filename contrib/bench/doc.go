// Bench measures refship beside what a user would take instead: OpenSSH's sshd with git-receive-pack, a path on this
// machine, refship without a target, git clone, cp, and etcd's own rate of puts. "make bench" runs it.
//
// All peers take part in one run on one machine, in turns: each round asks each of them once, and begins with another
// one each time. The rest of the order is shuffled, from a seed. So what the machine does meanwhile does not fall on
// the same one in every round, nor does what a peer leaves to do: the server writes git notes a second after a deploy.
// Every exit status is checked, and after a push the ref is read back: a push that failed would look fast. Figures are
// medians; a ratio is that of two medians of one run. Absolute figures change from machine to machine, ratios much
// less.
//
// Each part of a run has its goals. A goal that a run has no figures for is named among what was not measured.
//
// The repositories are made from a seed, so that two runs push the same bytes: see corpus.go.
//
// Everything is in one scratch directory, which is removed at the end, and on loopback. A run that is killed leaves it.
package main
