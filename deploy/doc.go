// Package deploy keeps the chain of deploys of one namespace in etcd.
//
// # Words
//
// A namespace is the etcd prefix that holds one chain. A chain is a sequence of deploys numbered 1, 2, 3 … without
// gaps; a deploy is immutable once it is published. Its deploy hash says what was deployed (a commit's oid, or "tree:" and
// the tree oid of a plain directory), its record says who did it, when, and from where, and the previous hash is the
// deploy hash of the deploy that it replaced. The head is the deploy with the highest id. A foreign deploy was put into
// the chain by another writer (mgmt): it has a payload, and neither record nor signature.
//
// # Format
//
// FORMAT.md beside this file gives every key and every value with a worked example.
//
// # How a deploy comes to be
//
//	chain := deploy.Open(client, namespace, log)
//	verdict, err := chain.Check(ctx, job)                  // may this commit or directory replace the head? is there anything to do?
//	lock, err := chain.Lock(ctx, locker, holder, wait, …)  // one writer at a time
//	prepared, err := chain.Prepare(ctx, lock, job, …)      // check again; what does etcd lack?
//	err = prepared.Upload(ctx, …)                          // contents, then nodes, bottom-up
//	published, err := prepared.Publish(ctx)                // one txn: all of it or nothing
//
// Prepare without a lock tells what a deploy would do, and writes nothing.
//
// A job has a commit of a Repository, or a plain Directory. A directory has no history: it may follow any other
// directory, and no commit. Its files are read again while it is prepared and uploaded, and one that has changed since
// the directory was read ends the deploy.
//
// A job with Force overrides what the comparison with the previous hash refuses, and nothing else: not a hold, a lock
// or a damaged head. A job with a path below which nothing differs from the head makes no deploy (Verdict.Same). After
// either, the head may be any number of commits behind the next job's.
//
// # How a chain is looked at
//
// Chain.State gives head, hold and lock at one revision, Chain.Relation how a commit stands to the head, Chain.Log the
// deploys from the newest down, Chain.Diff what differs between two; Chain.List, Chain.Cat and Chain.Checkout read one.
//
// # Invariants
//
//   - A deploy exists if its record or its payload does; both appear in one txn together with hash, signature and head.
//   - A tree key exists ⇒ everything below it exists. Uploading goes bottom-up: contents are acknowledged before the
//     node that names them, a node before the node above it, all of it before the publish. So a node that is there
//     needs no look below it, and a deploy costs what changed.
//   - Contents, nodes and git objects are addressed by their hash: nobody sees them before a record leads to them, and
//     writing one twice changes nothing.
//   - The head is compared in the publishing txn with what Check saw, and so is the lock's create revision. A publish
//     whose answer was lost is settled by taking the lock away first: after that it can not be applied any more.
//   - A lock that could not be given back is removed by the process that had it, or goes with its lease, which is no
//     longer kept alive: other processes wait for no longer than the lease's time.
//   - Once a deploy is uploaded, nothing of its contents stays in memory.
//   - Reading trusts nothing: a record's tree_sha256 covers the root node's text, a node covers its entries by sha256.
//
// # Concurrency
//
// A Chain and a Locker may be used by many goroutines; a Lock and a Prepared belong to one at a time.
package deploy
