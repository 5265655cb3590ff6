// Package socket is the unix socket between git's hooks and a running server.
//
// git runs refship-hook as pre-receive and as post-receive of each push to a server's repository. refship-hook is
// tiny: it hands what git gave it to the server, prints what the server says, and ends with the server's exit status.
// The copies of refship-hook that git runs, and the socket, are in one directory of mode 0700:
//
//	DIR/hooks/pre-receive, DIR/hooks/post-receive   core.hooksPath of a server's pushes is DIR/hooks
//	DIR/hook.sock
//
// # Frames
//
// Both sides send frames: a type byte, the payload's length in four bytes (big endian), the payload of at most 256 KiB.
//
//	v  to the server    NAME=VALUE, each name once, before any input:
//	                    REFSHIP_HOOK_TOKEN   64 hex digits, 256 random bits
//	                    REFSHIP_HOOK         "pre-receive" or "post-receive"
//	                    GIT_QUARANTINE_PATH, GIT_OBJECT_DIRECTORY, GIT_ALTERNATE_OBJECT_DIRECTORIES, GIT_PUSH_*
//	                    as git set them (git-receive-pack(1), githooks(5))
//	i  to the server    a piece of standard input
//	e  to the server    its end; empty
//	o  from the server  text for standard error
//	x  from the server  one byte, the exit status; the last frame
//
// For example (NUL bytes as ".", lengths as numbers), where the first line of input is cut short:
//
//	> v 83 REFSHIP_HOOK_TOKEN=9f86d081…  v 24 REFSHIP_HOOK=pre-receive  i 99 0000… 5d6e… refs/heads/main LF  e 0
//	< o 64 refship: config main → 5d6e7f8, the first deploy, by laptop LF  x 1 .
//
// The hook sends nothing after e and keeps the connection open: if it ends before x was sent, the hook has died. A hook
// that gets anything else than frames up to an x refuses.
//
// # Concurrency
//
// A [Listener] answers many hooks at a time. What answers one of them is told when that hook has died.
package socket
