// Package gitserver is the SSH git server: it listens, tells who a client is, reads its command, and runs the system's
// git for push, clone and fetch. It also keeps the bare repositories on disk.
//
// # Identity
//
// A client is the key that authenticated, and nothing else: not the user name in the URL (any will do, the
// documentation says git@), not a key that was merely offered. SSH clients first ask about keys ("would this one do?",
// RFC 4252 section 7), and the answer to that is all that Server's public key handler gives. The key is taken down when
// its signature over the connection was checked (VerifiedPublicKeyCallback of golang.org/x/crypto/ssh), and travels in the
// connection's Permissions; the library's Session.PublicKey is the key offered last and is never used. Each session,
// and each question of a hook what the key may do, reads the keys file again: a key or rule that was removed fails at
// its next attempt on a connection that stands.
//
// # What a session may do
//
// One command: git-receive-pack NAME, git-upload-pack NAME, deploy NAME, help, or none at all, which greets. A
// command is read the way git quotes it; no shell is involved. Of NAME exactly one leading slash and a trailing ".git"
// are dropped; then it must be a repository's name as ParseName has it. A repository that a key may not read and one
// that does not exist get the same answer.
//
// Refused are terminals, agent and X11 forwarding, subsystems, signals, port forwarding in both directions, and every
// environment variable but GIT_PROTOCOL with a value in git's form; password and keyboard-interactive logins;
// certificates; algorithms that are known to be weak.
//
// Exit statuses: 0 done, 1 failed, 2 a command or name that is not understood, 4 no permission or no such repository;
// else that of git.
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
// creation takes turns by a lock on Dir/.lock.
package gitserver
