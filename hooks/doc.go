// Package hooks takes what is pushed into the chains: the delivery engine, and those who call it.
//
// # Words
//
// A delivery is one target's commit, or a plain directory, on its way into one chain. An intent is the promise, on
// disk, to publish what pre-receive accepted (package intent). A verdict compares a delivery with its chain's head
// (package deploy).
//
// # The engine
//
// A run (run.go) takes a list of deliveries through two halves:
//
//	prepare   verdict        is it allowed, and is there anything to do? (judge)
//	          check          the target's own command, if it has one (checks.go)
//	          lock           the chains, sorted by namespace; up to 30 s (locks.go)
//	          verdict, read  again, under the lock; what cannot be deployed is refused (read)
//	          room           what etcd has no room for is refused
//	          upload         contents and nodes, which no reader sees yet
//	          A single small delivery is read before its lock is taken, and the txn that stores it takes the lock
//	          (small.go).
//	finish    publish        one etcd txn for each delivery; a lost lock begins anew (publish)
//	          tell           "deploy 7 published …" (words.Published)
//
// A refusal in prepare refuses all deliveries of the run. A delivery with nothing to do is told at once, "… is
// already deployed as 7 of …" (words.NothingToDo), and left out. At most 8 deliveries are read and uploaded at a
// time, all runs together, and 4 of one key, with a share of git's memory (package turns; inTurn in memory.go). A run
// waits for no lock while it has its turn, so no run waits in a circle.
//
// The callers are thin:
//
//	push        push.go        the two hooks of a push, of a [Server] or installed; between them it writes the intent
//	installed   installed.go   a hook in a repository of another server: [Engine.PreReceive], [Engine.PostReceive]
//	requested   requested.go   ssh HOST deploy: [Engine.Deploy]
//	manual      manual.go      a commit or directory that the command line names: [Engine.DeployManually]
//	reconcile   reconcile.go, leftover.go   what broken-off pushes left: [Engine.Reconcile]
//	rollback    rollback.go    an earlier deploy again: [Engine.Rollback]; with [Engine.Hold] and [Engine.Resume]
//
// When a user has the answer, a server brings the notes in the repository up to its chains (noted.go, package notes).
//
// What they say is worded in package words, what the log keeps of each is a line of package report, and package status
// compares refs with chains.
//
// # A push through a server
//
// gitserver calls [Server.Begin], runs git receive-pack with core.hooksPath=[Server.HooksPath] and the variables of
// [Session.Env], and calls [Session.End] when receive-pack has ended, however it ended. In between git runs
// refship-hook twice. By file and function:
//
//  1. cmd/refship-hook hands git's input to the socket. socket/socket.go: handle reads it, and calls answer
//     (server.go), which finds the Session by its token. session.go: enter admits each hook once.
//  2. push.go: preReceive calls prepare. permit/permit.go: Read takes in ref updates, push options and targets, and
//     Check asks for each ref update whether the key may do it. signatures.go: readCertificate judges the certificate
//     of a signed push (package signed). push.go: deliveries pairs ref updates with targets.
//  3. run.go: prepare. judge asks each chain, which is deploy's Chain.Check, and checkSigned whether what it brings is
//     signed as the target wants. check runs the targets' checks. lock
//     takes the chains' locks (Chain.Lock). load, in its turn: readAll prepares (Chain.Prepare) and takes room
//     (Store.TakeRoom); upload stores (Prepared.Upload). Of a small push all of that is done by small, without waiting
//     for the lock (Chain.PrepareSmall, Prepared.LockAndUpload).
//  4. push.go: writeIntent writes the intent, synced. refship-hook ends with 0, and git moves the refs.
//  5. git runs post-receive. session.go: postReceive calls push.go: finish for each delivery whose ref moved, and
//     abandon for the others. run.go: finish calls publish, which is deploy's Prepared.Publish: the one etcd txn that
//     makes the deploy visible. Then drop takes the delivery out of the intent.
//  6. session.go: End does what post-receive did not do (finishLate), gives the locks back, and reports (report.go).
//
// One refusal refuses the whole push, and leaves refs and chains as they are. Up to the intent, a hook that dies ends
// the work, since git will refuse. From then on only the refs decide: where the ref is at the new oid the deploy is
// published, by post-receive, by End, or, if the server died, by [Engine.Reconcile] when it starts again; where the
// ref is not, the intent is dropped. Each may find the deploy published already, which is no error.
//
// # Installed hooks
//
// In a repository of another git server a script runs as each hook (package install). It becomes a process of its own,
// "refship hook run", which runs the earlier hook first. What differs from a server:
//
//   - The environment says who pushes ([permit.PusherFromEnv]). Each pusher may deploy, and none may force.
//   - The locks are given back at the end of pre-receive, since nothing tells it whether a later hook refuses.
//     Post-receive takes them again and prepares again, which finds stored what pre-receive has stored. If the chain
//     went on meanwhile, the push is "pushed, not deployed".
//   - Post-receive finds its intent by the ref update. One that was left is published by the next run of a hook, and
//     by a manual deploy. An intent whose ref has not moved may be that of a running push: its field process names
//     the git receive-pack. If that has ended, or cannot be looked at and an hour has passed, the intent is dropped.
//   - A lock names its process, too: a run that waits for the lock of a dead process of this machine breaks it.
//   - Etcd is asked only if a target's ref is updated, or an intent is left.
//
// # Checks
//
// A check runs for each delivery that has something to deploy, in pre-receive, also of a dry run, and in requested
// and manual deploys. It does not run for what an intent promises, which has passed it. If the deploy was made by
// another before the check began, nothing is left to check, and this run does not make it again: nothing unchecked is
// deployed. The checks of one push run one after the other, so that all that is wrong is told. They end with the
// client; once they have passed, the delivery goes on without it. Package check runs them.
//
// # Force
//
// Push options are read by package permit. deploy.force overrides the one head that its user was told of. If the chain
// has another head once the lock is held, or when the deploy is published later on, that is a conflict again.
//
// # Invariants
//
//   - A ref of a target moves only after its intent is synced.
//   - An intent is removed only after its deploy was published, or its ref was seen elsewhere, or its target was
//     changed or removed, or the chain has made it out of date (package intent), or the push had deploy.skip.
//   - A deploy is published only for a ref that git has moved.
//   - A token is good for the two hooks of one push, each once, post-receive only after a pre-receive that accepted.
//   - From a server's hook only standard input, the quarantine folder and GIT_PUSH_* are taken; who pushes to which
//     repository is what Begin was told.
//
// # Concurrency
//
// An [Engine] and a [Server] are safe for concurrent use, and their pushes run beside each other; chain locks put
// those to one namespace in order. A [Session] belongs to one push. Reconcile may run beside pushes unless it is told
// that it has the repository to itself; it leaves the intents of running pushes alone.
package hooks
