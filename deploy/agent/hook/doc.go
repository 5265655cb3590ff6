// Package hook runs what a node's operator wants to be run for a release: commands, and requests to a URL.
//
// # A command
//
// [Command.Run] runs "sh -c LINE" in a release's directory, in a process group of its own. Its environment is
// [Command.Env] and the release's variables:
//
//	HASH, GITSYNC_HASH   the hash of the release
//	PREV_HASH            the hash of the release that ran before; "" if none did
//	ID                   the deploy's number
//	CHAIN                the chain's namespace
//
// Its output goes line by line to Command.Tell. When its time is over, or the context ends, its group gets SIGTERM, and
// SIGKILL 5 s later. What it leaves running in the background stays, as with git-sync: it may be what it was for.
//
// # A runner
//
// A [Runner] runs one hook beside the node's own work, for the newest release only, until it has succeeded. A hook may
// run more than once for a release.
package hook
