// Package gitserver is the SSH git server: it listens, tells who a client is, reads its command, and runs the system's
// git for push, clone and fetch. It also keeps the bare repositories on disk.
//
// # Identity
//
// A client is the key that authenticated, and nothing else: not the user name in the URL (any will do, the
// documentation says git@), not a key that was merely offered. SSH clients first ask about keys ("would this one do?",
// RFC 4252 section 7), and the answer to that is all that Server's public key handler gives. The key is taken down when
// its signature over the connection was checked (VerifiedPublicKeyCallback of golang.org/x/crypto/ssh), and travels in the
// connection's Permissions; the library's Session.PublicKey is the key offered last and is never used. Each session
// reads the keys file again, and each push once more with the first byte that its client sends: a key or rule that was
// removed fails at its next attempt, on a connection that stands too, and a push that had begun is finished.
//
// What is not let in is logged with the reason: a key that is not known (and how to add it), one whose line is not
// usable, a weak key, a certificate, an algorithm that is not accepted.
//
// # What a session may do
//
// One command, or none at all, which greets:
//
//	git-receive-pack NAME      push
//	git-upload-pack NAME       clone and fetch
//	repos                      what the key may read, what it may do there, what each target deploys
//	log NAME[:TARGET] [-n N]   the latest deploys: 20, or N, or all
//	status NAME                each target's ref against its chain's head
//	deploy NAME[:TARGET]       deploy what refs have and chains have not
//	help                       these
//
// A command is read the way git quotes it; no shell is involved. Of NAME exactly one leading slash and a trailing ".git"
// are dropped; then it must be a repository's name as ParseName has it. log and status need the permission to read,
// deploy the one to deploy. A repository that a key may not read and one that does not exist get the same answer. Data
// goes to standard output, speech to standard error.
//
// Refused are terminals, agent and X11 forwarding, subsystems, signals, port forwarding in both directions, and every
// environment variable but GIT_PROTOCOL with a value in git's form; password and keyboard-interactive logins;
// certificates; algorithms that are known to be weak.
//
// Exit statuses: 0 done, 1 failed, 2 a command or name that is not understood, 4 no permission or no such repository;
// else that of git, or what Config.ExitCode gives for an error of the hooks.
//
// # Limits
//
// Limits bounds the connections, in all and from one address, the time to authenticate, and a push's pack; a connection
// has at most 10 sessions. Who meets one is told: a connection too many by SSH's own message of disconnection, the others
// by a line. The log has each, but for a flood.
//
// A client that authenticated may idle for as long as it answers: after Limits.KeepAlive of silence it is asked
// (keepalive@openssh.com), and three times as much ends its connection. Uploads and clones take as long as they take.
//
// At most 128 pushes and deploys, and 128 fetches, run at a time, and a key gets one more turn while it has fewer than are
// free: 64 if nobody else has any, 32 beside a key that has 64, and so on. Who waits for a turn is told, and its key is looked up again when it gets one. git is set up so that
// large files pass through it in pieces: receiving or sending a file of 200 MB takes some 15 and 70 MiB, where git by
// itself takes the size of the file. Only what arrives as a delta is put together in memory. On Linux each git process
// may take 2 GiB for itself, and ends if it wants more: nothing is stored then.
//
// # How git runs
//
// git gets an environment built from scratch: PATH of the server, HOME an empty directory, LC_ALL=C,
// GIT_CONFIG_NOSYSTEM=1, GIT_CONFIG_GLOBAL=/dev/null, GIT_NO_REPLACE_OBJECTS=1, GIT_PROTOCOL if the client sent it, and for a push the variables
// by which the hooks find the server. Settings that matter come on its command line and win over the repository's config.
//
// git receive-pack is not bound to the connection. The end of the client's input ends it by itself where the push was
// incomplete; otherwise it goes on, and its output is drained to the end: a receive-pack that cannot write would move
// the refs and skip the post-receive hook. A client that reads nothing for Config.ReadTimeout counts as gone. git
// upload-pack ends with its client. On Linux both are killed when the server dies.
//
// # Repositories
//
// Repository NAME is the bare repository Dir/NAME.git. Its own hooks directory has one hook, which refuses: a push that
// reaches the directory by path would move refs past the server.
//
// # Concurrency
//
// Server runs once and serves any number of clients at a time. Repos is safe for concurrent use, also by other processes:
// creation and changes of targets take turns by a lock on Dir/.lock.
package gitserver
