// Package words says in words what a delivery is about to do, and what became of it.
//
// Each outcome has one wording, for all ways to ask for a delivery: a push, an installed hook, ssh HOST deploy, refship
// deploy, reconcile or rollback. A line is for the user of the run (package output shows it): it does not begin with
// "refship: " and has no newline.
//
//	delivery.go  before and after the publish: Greeting, Warnings, Amounts, Rehearsal, Published, NothingToDo
//	ref.go       refs that git has moved and that are not deployed: Stored, Skipped, Moved
//	commands.go  the commands that hints name: Commands
//	explain.go   an error with its remedy: Explain
//
// The functions read what package deploy has found out, and ask neither etcd nor git.
package words
