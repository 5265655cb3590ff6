// Package deploy writes the chain of deploys of one namespace in etcd.
//
// # Words
//
// A namespace is the etcd prefix that holds one chain. A chain is a sequence of deploys numbered 1, 2, 3 … without
// gaps; a deploy is immutable once it is published. Its deploy hash says what was deployed: a commit's oid, or
// "tree:" and the tree oid of a plain directory. Its record says who did it, when, and from where. Its previous hash
// is the deploy hash of the deploy that it replaced. The head is the deploy with the highest id. A foreign deploy was
// put into the chain by another writer (mgmt): it has a payload, and neither record nor signature. A job asks for a
// deploy: of a commit in a git.Repository, or of a plain tree.Directory.
//
// # The spine
//
//	chain.go    store.Chain(namespace)     the chain of one namespace in a Store: one etcd, one lease for all locks
//	verdict.go  chain.Check(job)           may the job replace the head? is there anything to do?
//	lock.go     chain.Lock(holder)         one writer at a time
//	prepare.go  chain.Prepare(lock, job)   the verdict again, under the lock; what does etcd lack, at most?
//	room.go     store.TakeRoom(prepared)   does it fit into etcd, and below the namespace's limit?
//	upload.go   prepared.Upload()          contents, then nodes, bottom-up; they are not visible yet
//	publish.go  prepared.Publish()         one txn: all of it or nothing; it gives the lock back
//
// What is small is read before the lock is taken, and stored by the txn that takes it (small.go): a round trip and a
// verdict fewer. That txn compares that the chain is as the verdict found it.
//
// Prepare without a lock tells what a deploy would do, and writes nothing. Package plan is what it and Upload do: the
// tree, what etcd lacks of it, and the order in which that is put. hold.go holds chains and resumes them;
// rollout.go says which nodes may run what is published; rollback.go publishes an earlier deploy again; undone.go keeps
// what was taken back from coming back unseen;
// relation.go relates a job to a head; conflict.go words why a job may not replace it. stored.go counts what a
// namespace holds. log.go appends to the chain's log (package transparency).
//
// mend.go writes single keys again, for package scrub.
// collect.go deletes content under the lock, for package gc, and pin.go keeps a deploy from it.
//
// Package store reads a chain, and a [Chain] does all that it does.
//
// # The verdict
//
// A commit may follow a commit that it contains, and a directory any other directory: a directory has no history.
// Force overrides what this comparison refuses, and a head that is damaged or not trusted; it overrides no hold and no
// lock. What a rollback or a forced deploy took back is named by every later record, and comes back only with a job
// that names the head. A job with a path below which nothing differs from the head makes no deploy. After either, the
// head may be any number of commits behind the next job's.
//
// The files of a directory are read again while it is prepared or uploaded. One that has changed since the directory
// was read ends the deploy.
//
// # Format
//
// FORMAT.md beside this file gives every key and every value with a worked example.
//
// # Invariants
//
//   - A deploy exists if any of its keys does: hash, record, signature and payload appear in one txn, together with
//     head. Without record and payload it is damaged.
//   - If a tree key exists, everything below it exists (package plan), and all of it is there before the publish. So a
//     node that is there needs no look below it, and a deploy costs what changed.
//   - Contents, nodes and git objects are addressed by their hash: they are not visible before a record leads to
//     them, and writing one twice changes nothing.
//   - The publishing txn compares the head with what Check saw, and the lock's create revision. If its answer is lost,
//     one txn takes the lock away and reads the record: after that the first can no longer be applied.
//   - Where a deploy is for one ring of nodes first, NS/refship/rollout says so from the txn on that publishes it. That
//     compares the rollout of the deploy before: what nodes run that wait is never lost.
//   - A lock that could not be given back is removed by the process that had it, or goes with its lease, which is no
//     longer kept alive: other processes wait for no longer than the lease's time.
//   - NS/refship/stored never tells less than what deploys of refship have in the namespace (stored.go): what an upload
//     brings is counted before it is there, by who holds the lock, and an upload stops where the lock is lost.
//   - NS/refship/log/ has no gaps from when log/1 is there, and a deploy's leaf and the checkpoint over it appear in its
//     txn. What a deploy stands on was compared with the checkpoint: damage of the log keeps it out, unless it is forced.
//     To append takes a value for each 1 of the head's id in binary: a long chain costs what a short one does.
//   - Once a deploy is uploaded, nothing of its contents stays in memory.
//
// # Errors
//
// A [ConflictError] says that the head may not be replaced, [ErrLockLost] that the deploy has to be prepared again.
// Everything else is a fault.Error, or trouble with etcd (package etcd). Where the remedy is a command, the error has
// one of the reasons of conflict.go, and the program words it.
//
// # Concurrency
//
// A [Store] and a [Chain] may be used by many goroutines. A [Lock] and a [Prepared] belong to one at a time.
package deploy
