// Package await waits until the nodes of a chain run a deploy, for those who want to see it arrive.
//
// Nodes say of themselves what they run (record.NodeReport). [Nodes] reads that again and again and tells how many run
// the deploy, or a later one. It ends
//
//   - without an error as soon as all nodes that have reported run it;
//   - with a fault.Failed when the time is over, when only nodes are left that were gone before the wait began, when
//     its rollout has stopped, or when no node has ever reported. The deploy stands then.
//   - with a fault.Failed when it was taken back: by a rollback, or by a forced deploy.
//
// Where it is released ring by ring, it waits for the nodes of all rings, and tells which ring it waits for.
//
// mgmt's hosts write the hash of what they run, by the code that is deployed. So a deploy without a version file is not
// waited for, and one with it is waited for though no host has written anything yet. Whether a host is gone is not
// known.
//
// # Concurrency
//
// Nodes only reads. It may be called many times at once.
package await
