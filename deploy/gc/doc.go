// Package gc takes content out of etcd that no kept deploy of a chain needs.
//
// # Words
//
// Content is what deploys are made of: nodes, file contents, and mgmt's superblocks. A deploy is kept if it is among
// the newest, or was published lately, or is pinned, or is the head, or the head's rollout needs it: what nodes run that
// wait for their ring, and what each ring ran last, for a rollback. Every other deploy is expired as soon as content
// of it is gone. Its hash, record, signature and payload, and the commits that were stored, stay for ever: the history
// can still be read and proved. A leftover is content that no deploy needs: of a push that was refused or died.
//
//	config := gc.Config{Store: store, Who: me, KeepLast: 100, KeepWithin: 90 * 24 * time.Hour}
//	result, err := gc.Run(ctx, config, namespace)
//
// # Steps
//
//	mark.go   list all content, with its mod revisions; mark what kept deploys need, and what is young
//	plan.go   put the rest in order from the top down, and say which deploy loses what
//	sweep.go  delete it, some keys a txn, for a while at a time under the chain's lock
//
// # Beside pushes
//
// A push looks for what is there under the chain's lock, and publishes under the same. So gc deletes under it, too. It
// holds it for at most 2 s at a time, and first looks what was published meanwhile: what a newer deploy or a new pin
// needs is no longer deleted. Each txn compares that the lock is held, and that each key has the mod revision that was
// listed: what somebody has written anew stays.
//
// mgmt knows no lock. It uploads contents, puts a superblock that lists them, and then publishes a payload that names
// the superblock. So in its namespaces nothing goes that is younger than an hour, a superblock is believed to be needed
// as long as a kept deploy names it or it is young, and each txn compares that no superblock was put since gc looked.
// A content that only expired deploys had, and that mgmt finds a moment before it is deleted, and lists a moment after,
// is lost to that deploy, unless mgmt puts it again: run mgmt deploy again, or do not run it beside gc.
//
// # Age
//
// etcd's keys have no times. A mod revision tells the age: records say when they were published, and each run leaves
// the revision and the time in NS/refship/gc. A leftover goes if it is older than a day, or older than a deploy that
// expires. Where mgmt may write, only the runs count for its hour: who deploys may have a clock that is behind.
//
// # Invariants
//
//   - NS/refship/expired is put before the first deletion: it is the highest id that may have lost content.
//   - If a node is there, all below it is there: parents go before their children, and what a young leftover names
//     stays with it. There is one exception, a leftover that a push brought while gc ran, and that then died. Nothing
//     relies on it: a push looks below each node that the head does not name.
//   - What a kept deploy needs is known completely, or nothing is deleted: a kept deploy that is damaged ends the run.
//     Content that an earlier run took may be missing.
//   - What the namespace holds (NS/refship/stored) is counted down in the txn that deletes.
//   - Killed at any moment, gc leaves kept deploys whole. The next run goes on.
//
// # Memory
//
// Some 200 bytes for each key that is listed, and for a node that goes what it names.
//
// # Concurrency
//
// Run may be called many times at once, also for one target: a key goes once.
package gc
