// Package gitserver is the SSH git server. It listens, identifies a client by its key, reads its command, and runs the
// system's git for push, clone and fetch. Packages of their own are what it builds on: conns (connections, and which of
// them are taken), command (what a client asks for), admit (which commands run at a time), incoming (what a push
// sends), repos (the repositories). Deploying is hooks.
//
// # Words
//
// A connection carries sessions, each of which is one channel and at most one command. A client is whatever is at the
// other end of a connection; its user is the name of the key that authenticated it. A turn is what lets a command run
// git.
//
// # A push
//
// From the connection to git and the hooks, by file and function:
//
//  1. server.go: [Server.Run] and accept take a connection. conns/logins.go: Enter counts it, or turns it away
//     (farewell.go). server.go: serveConn hands it to the library; conns/conn.go is what is known of it.
//  2. auth.go: mayAuthenticate answers which keys may be tried; serverConfig notes the key that the library verified.
//  3. channel.go: serveChannel opens a session's channel. filter grants "exec", and GIT_PROTOCOL (takeVariable).
//  4. session.go: handle gives the session its streams (client.go). run looks the key up in the file (lookUpKey), has
//     the command parsed (command/command.go: Parse), and calls receivePack.
//  5. push.go: receivePack calls enter (visit.go), which finds the repository, checks the permission to push
//     (session.go: findRepository), and waits for a turn (admit/pool.go). checkHooks makes sure that git will run the
//     hooks. [hooks.Server.Begin] announces the push, and gives the variables that let the hooks find it.
//  6. git.go: runGit runs git receive-pack with the server's hooks directory (push.go: receiveSettings). The client's
//     input is a pushInput (push.go): the first byte begins the push, and the key is looked up once more (stillMay).
//     receive.go: feed reads it (package incoming), keeps the pack until it is all there, waits for the memory that git
//     needs for it (memory.go: awaitPackMemory), and hands it to git.
//  7. git stores the pack, runs pre-receive, moves the refs, and runs post-receive. Both hooks are refship-hook, which
//     hands its input to the hook socket: the doc of package hooks goes on from there.
//  8. push.go: receivePack calls [hooks.Session.End], which settles what is left. receive.go: report tells what git
//     could not tell, and gives the exit status.
//
// # Identity
//
// A client is the key that authenticated, and nothing else: not the user name in the URL (any will do, the
// documentation says git@), not a key that was only offered. SSH clients first ask about keys ("would this one do?",
// RFC 4252 section 7), and the answer to that is all that the library's public key handler gives (mayAuthenticate).
// The key is noted when its signature over the connection was checked (VerifiedPublicKeyCallback of
// golang.org/x/crypto/ssh), and travels in the connection's Permissions. The library's Session.PublicKey is the key
// offered last and is never used.
//
// Each session reads the keys file again, and each push once more with the first byte that its client sends. So a key
// or rule that was removed fails at its next attempt, on an open connection too, and a push that had begun is
// finished.
//
// What is not let in is logged with the reason and the remedy: a key that is not known, one whose line is not usable, a
// weak key, a certificate, an algorithm that is not accepted.
//
// # What a session may do
//
// One command, or none at all, which greets:
//
//	git-receive-pack NAME       push
//	git-upload-pack NAME        clone and fetch
//	repos                       what the key may read, what it may do there, what each target deploys
//	web                         a link that signs a browser in to the page, as this key
//	log NAME[:TARGET] [-n N]    the latest deploys: 20, or N, or all
//	status NAME                 each target's ref against its chain's head
//	check NAME[:TARGET] COMMIT  what the push of a commit would deploy
//	deploy NAME[:TARGET]        deploy what refs have and chains have not
//	help                        these
//
// A command is read the way git quotes it; no shell is involved. NAME is read by [repos.NameFromPath]. log and status
// need the permission to read, check and deploy the one to deploy. A repository that a key may not read and one that
// does not exist get the same answer. Data goes to standard output, speech to standard error.
//
// Refused are terminals, agent and X11 forwarding, subsystems, signals, port forwarding in both directions, and every
// environment variable but GIT_PROTOCOL with a value in git's form; password and keyboard-interactive logins;
// certificates; algorithms that are known to be weak.
//
// The exit status is 0, git's own, or the kind of the error ([fault.KindOf]). What to do about an error is worded by
// [Config].Remedy, since a package below the program names none of its commands and flags.
//
// # Limits
//
// [Limits] bounds the connections, in all and from one address, the time to authenticate, a push's pack, and git's
// memory; a connection has at most 10 sessions. Connections that have not authenticated have smaller limits of their
// own and keep nobody out (package conns). A client that meets a limit is told: one connection too many by SSH's own
// message of disconnection, the others by a line. The log has each, but for a flood.
//
// A client that authenticated may idle for as long as it answers: after 30 s of silence it is asked
// (keepalive@openssh.com), and after 90 s its connection ends. Uploads and clones take as long as they take.
//
// At most 128 pushes and deploys, and 128 fetches, run at a time, where git's memory is enough for so many, and a key
// gets one more turn while it has fewer than are free: 64 if no other key has any, 32 beside a key that has 64, and so
// on. A client that waits for a turn is told, and its key is looked up again when it gets one. The git of each further
// turn of a key has less of the processors than that of the turn before (admit.Turn.Nice).
//
// On Linux each git process has a limit of memory, and the sum of the limits is bounded (memory.go). A push whose pack
// needs more than it may have is refused before git sees it. git is set up so that large files pass through it in
// pieces. Only what arrives as a delta is put together in memory. A git that wants more than its limit ends, and
// nothing is stored then.
//
// # How git runs
//
// git gets an environment built from scratch ([git.Env]), with GIT_PROTOCOL if the client sent it, and for a push the
// variables by which the hooks find the server. Settings that matter come on its command line and win over the
// repository's config.
//
// git receive-pack is not bound to the connection. The end of the client's input ends it by itself where the push was
// incomplete; otherwise it goes on, and its output is drained to the end: a receive-pack that cannot write would move
// the refs and skip the post-receive hook. A client that reads nothing for 10 s counts as gone. git upload-pack ends
// with its client. On Linux both are killed when the server dies.
//
// What git receive-pack reports waits until the session of the hooks has ended, so that a ref that moved and was not
// deployed is not called "ok" (package reply). A push that updates no ref tries what earlier ones left.
//
// # Upkeep, and what breaks
//
// Each push begins with upkeep.Keeper.Enter, which removes the locks of a dead git, and at its end the repository may
// be packed anew (package upkeep; upkeep.go gives it memory of the fetches' share). Where git stores nothing or does
// not move a ref, storage.go looks into the repository whose fault that is: the disk's, an empty ref's, a lock's, or
// the push's. [Server.Storage] goes on looking at disks that took no push. A pack takes room on the disk while it comes
// (receive.go: keep), out of the [disk.Room] that the whole process shares, and is given up where there is none.
//
// # Concurrency
//
// A [Server] runs once and serves any number of clients at a time. Each connection and each session has goroutines of
// its own; what they share is under Server.mu, or has a lock of its own (conns.Table, admit.Pool, receiving).
// [Server.Run] returns when none of them is left.
package gitserver
