// Package check runs a target's own check: a command line that must pass before a deploy.
//
// # A run
//
// [Runner.Run] waits for its turn, since at most 4 checks run at a time. It writes the tree into a scratch directory,
// starts "sh -c COMMAND" in it, and passes the output on. A command that ends with exit status 0 in time has passed.
// Anything else is a fault.Refused: another status, a signal, too much time, a command that cannot be started.
//
// # Scratch directory
//
// Each run has a directory of mode 0700 in Config.Dir:
//
//	check-RANDOM/tree  the tree as git has it at the target's path; the command starts there
//	check-RANDOM/home  HOME
//	check-RANDOM/tmp   TMPDIR
//
// It is removed when the check has ended. What a killed process left is removed later: by [Runner.Clear] at the next
// start of a server, and after a day where other processes use the same directory. A tree may take a fifth of the free
// space, so that four checks do not fill the disk.
//
// # The command
//
// Its whole environment is PATH (this process's), HOME, TMPDIR, LANG=C.UTF-8, and what is checked:
// REFSHIP_REPOSITORY, REFSHIP_TARGET, REFSHIP_REF, REFSHIP_COMMIT, REFSHIP_PREVIOUS (the head's deploy hash, or empty),
// REFSHIP_PUSHER and REFSHIP_FRONTEND. Standard input is /dev/null, and no other file is open. Its output is told line
// by line after "| ": 2,000 bytes of a line, 1,000 lines, and the last 50.
//
// This is no sandbox: what is pushed runs with this process's rights. The command has a session of its own without a
// terminal. When its time is over, or the context ends, its process group gets SIGTERM, and SIGKILL 5 s later. When
// the shell has ended, the rest of the group is killed at once. So is each process that left the group but kept a
// HOME in the run's directory. A process that gave up both is not found: only cgroups could find it. If this process
// is killed, the shell dies with it; what the shell has started is killed by the next Clear, if its HOME is still in
// a run's directory.
//
// # Concurrency
//
// A Runner is safe for concurrent use. Several processes may share Config.Dir if Config.Shared is set.
package check
