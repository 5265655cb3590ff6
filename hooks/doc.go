// Package hooks is what happens in a push between git's receive-pack and the chains: pre-receive prepares and can refuse,
// post-receive publishes, and whatever was broken off in between is brought to its end.
//
// # Words
//
// A ref update is {ref name, old oid, new oid}. A target is a named rule in a repository's git config (refship.<target>.ref,
// .path, .namespace, .frontend, .check): what is pushed to one ref goes into one namespace. An intent is the promise, on disk,
// to publish what pre-receive accepted.
//
// # A push
//
// gitserver calls [Server.Begin], runs git receive-pack with core.hooksPath=[Server.HooksPath] and the variables of
// [Session.Env], and calls [Session.End] when receive-pack has ended, however it ended. In between git runs
// refship-hook twice:
//
//	pre-receive   options       read strictly (below)
//	              check all     permission of each ref update, previous hash, hold; where a target has a check of
//	                            its own: whether all can be deployed, then that check
//	              lock          the chains, sorted by namespace; up to 30 s
//	              turn          at most 8 deploys are read and uploaded at a time, all pushes together
//	              prepare       read what changed, refuse what cannot be deployed, look whether etcd has room
//	              upload        contents and nodes, which nobody sees yet
//	              intent        written and synced
//	git           moves refs
//	post-receive  publish       one etcd txn for each target whose ref moved; drop it from the intent
//	End           settle        publish or drop what is left of the intent, release the locks
//
// One refusal refuses the whole push, and leaves refs and chains as they are. Up to the intent, a hook that dies ends the
// work, since git will refuse. From then on the refs decide, and nothing but them: where the ref is at the new oid the
// deploy is published, by post-receive, by End, or, if the server died, by [Server.Reconcile] when it starts again; where
// the ref is not, the intent is dropped. Both may find the deploy published already, which is no error.
//
// # Without a server
//
// A [Deployer] does the work of both: of a [Server]'s pushes, of pushes that somebody else's git server takes, and of
// deploys that are asked for by hand ([Deployer.DeployByHand]).
//
// Where a repository has another home, [install.Install] puts scripts beside the hooks that are there (install.go says how, and
// what is on disk), git runs them, and each becomes a process of its own: "refship hook run". It runs the earlier hook
// first, and then [Deployer.PreReceive] or [Deployer.PostReceive]. What differs from a server:
//
//   - Who pushes is what the environment says ([PusherFromEnv]), and may deploy what it may push. Nobody may force.
//   - The locks go back at the end of pre-receive, since nobody tells it whether another hook refuses after it. So
//     post-receive takes them again and prepares again, which finds stored what pre-receive has stored. If the chain went on
//     meanwhile, the push is "pushed, not deployed".
//   - Post-receive finds its intent by the ref update. One that was left is published by the next run of a hook, and by
//     "refship deploy". An intent whose ref is still where it was may be that of a running push: its field process names
//     the git receive-pack. Where that has ended, or cannot be looked at and an hour has passed, the intent is dropped.
//   - A lock names its process, too: whoever waits for one whose process is dead, on this machine, takes it away.
//   - Etcd is asked only if a target's ref is updated, or an intent is left.
//
// # A target's own check
//
// refship.<target>.check is a command line for sh -c. It runs for each deploy that is about to be made: in pre-receive,
// also of a dry run, and when a deploy is asked for; not for one that an intent promises, which has passed it. Where somebody
// else made the deploy before its check began there is nothing to check, and it is not made again, whatever becomes of the
// chain's head: nothing unchecked is deployed. What
// does not end with exit status 0 in time ([Config.CheckLimit]) refuses; so does what cannot be started. At most 4
// checks run at a time; those of one push run one after the other, so that all that is wrong is told.
//
// Each has a scratch directory of mode 0700 in Dir/checks with tree, the tree as git has it at the target's path, where
// the command starts; home; and tmp. It goes when the check has ended, and what a killed server left goes at the next
// start. A tree gets a fifth of what is free on the disk, so that four checks do not fill it. The environment is
// PATH (the server's), HOME, TMPDIR, LANG=C.UTF-8, REFSHIP_REPOSITORY, REFSHIP_TARGET, REFSHIP_REF, REFSHIP_COMMIT,
// REFSHIP_PREVIOUS (the head's deploy hash, or empty), REFSHIP_PUSHER and REFSHIP_FRONTEND. Standard input is
// /dev/null; no other file is open. Output reaches the pusher line by line after "| ", 2,000 bytes of a line, 1,000
// lines and the last 50.
//
// It is no sandbox: what is pushed runs with the server's rights. The command has a session of its own without a terminal.
// When its time is over, its client or hook is gone, or the server stops (to a deploy that was asked for: begins to; a push
// has its time to finish), its process group gets SIGTERM, and after 5 s SIGKILL. Nothing of the deploy was written by then;
// a deploy whose check has passed goes on without its client. What is left of the group when the shell has ended is killed
// at once, and so are processes that left it but kept a HOME below the check's directory in their environment. One that gave
// up both is not found: only cgroups could, and making the server its children's subreaper is for the whole process. Should
// the server itself be killed, the shell dies with it; what that has started is killed at the next start, before its
// directories go, if its HOME is still in one of them.
//
// # Push options
//
// "git push -o" hands them over; those that do not begin with "deploy." are others' and only kept in the intent. A misspelt
// one, one that is there twice, and two that contradict each other refuse the push.
//
//	deploy.reason=TEXT   for the record: one line of UTF-8, at most 10,000 bytes
//	deploy.force         override what the previous hash refuses; needs a reason, and the permission force
//	deploy.dry-run       check and prepare without a lock, write nothing, say what would be deployed, refuse the push
//	deploy.skip          store, take no lock, deploy nothing
//
// Force overrides the one head that the push has named to its pusher. Where the chain has another once the lock is
// held, or when the deploy is published later on, by post-receive after a lost lock or by reconcile, that is a conflict
// again.
//
// # Invariants
//
//   - A ref of a target moves only after its intent is synced.
//   - An intent is removed only after its deploy was published, or its ref was seen elsewhere, or its target is not in the
//     repository's config any more.
//   - A deploy is published only for a ref that git has moved.
//   - A token is good for the two hooks of one push, each once, post-receive only after a pre-receive that accepted.
//   - From a server's hook only standard input, the quarantine folder and GIT_PUSH_* are taken; who pushes to which
//     repository is what Begin was told.
//
// # Hook socket
//
// refship-hook connects to the unix socket REFSHIP_HOOK_SOCKET, in a directory of mode 0700. Both sides send frames: a
// type byte, the payload's length in four bytes (big endian), the payload of at most 256 KiB.
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
// A [Server] is safe for concurrent use, and its pushes run beside each other; chain locks put those to one namespace in
// order. Locks are taken in the order of their namespaces, and the turn to read and upload after them: nobody waits in a
// circle. Who waits for a lock asks the chain again whenever it has a new head, and is refused as soon as it would be. A [Session] belongs to one push. Reconcile may run beside pushes unless it is told that it has the repository to
// itself; it leaves the intents of running pushes alone.
package hooks
