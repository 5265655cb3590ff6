// Package rollout takes a deploy from ring to ring of a chain's nodes.
//
// # Words
//
// A ring is a name that nodes give themselves (agent --ring). A rollout ([record.Rollout], NS/refship/rollout) says
// which rings may run the head. It is put by the txn that publishes, with the first ring released. Nodes only read it.
// A node without a ring, or with one that the rollout does not name, goes with the last one.
//
// A ring is whole when a node of it is alive, and all that are run the deploy. Its owner is the one server that
// advances a chain's rollouts: it holds NS/refship/rollout-owner, on a lease of its own.
//
// # What the owner does
//
//	all released rings are whole          it notes that each of them ran the deploy, and since when
//	… and have been so for the pause      it releases the next ring; after the last one the rollout is done
//	one is no longer whole                the pause begins anew
//	a ring has no node alive              it waits: a person may promote
//	a node's prepare or hook has failed   it stops: nothing is released before a person promotes, or deploys
//	… with on-failure rollback            it publishes again what that node's ring ran whole last
//	the chain is on hold                  nothing
//
// It rolls back only a head that somebody has pushed or deployed, so never a rollback, and that only once: a rollback
// is another head. What is reported of a deploy counts only if it was put after the deploy was. Where no deploy is known
// that the ring ran whole, it stops. A failure counts until the rollout is done. Disk, fetch and age are no failures of
// the deploy.
//
// A rollback is always released to all rings at once. Where all may run the head and nothing is noted yet,
// the owner makes a rollout that is released to all, for what it remembers: what each ring ran whole.
//
// # Trust
//
// Nodes say all of this of themselves. So who can write one node's report, which the rule node allows, can keep a rollout
// from going on, make an empty ring look whole so that it goes on, and with on-failure rollback have what was deployed
// taken back, to what the ring ran before. It can make nothing run that was not deployed.
//
// # Invariants
//
//   - Each step is one txn. It compares the rollout, the head, that there is no hold, and that the owner is still the
//     owner. So two servers, or a server that was cut off, never release more than one ring for one look.
//   - Released rings stay released.
//   - Nothing is decided by what is not in etcd: another owner goes on where the one before ended.
//
// # Concurrency
//
// [Run] is called once in a process. [Judge] and [Words] are pure.
package rollout
