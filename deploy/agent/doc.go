// Package agent is a node: it makes the head of a chain the release that a link leads to, again and again. It links no
// etcd server, no git, and nothing that receives a push.
//
// # Words
//
// A release is a deploy's tree in a directory of its own, see package site. It runs when the link leads to it. A try is
// one attempt to run the head. A session is what is done over one connection to etcd.
//
// # A try
//
//	the head is read, at a revision R
//	  → its record and signature are judged, and it extends the head that was seen last
//	  → the release is fetched, every byte of it checked; what the release that runs still has is copied from there
//	  → the operator's command prepares it, and may refuse it
//	  → the file that says that it is ready is on disk
//	  → the link leads to it
//	  → hooks run, the node reports, old releases are removed
//
// After a try the node waits for a change below NS/deploy/ from R+1 on, or for Config.Period. When the watch ends,
// since R+1 is compacted or there is no leader, when the cluster is another one or its revision went back, the head is
// read anew. A try that failed is repeated after a pause that grows; a new deploy is tried at once.
//
// # What a node believes
//
// The first head is taken as it is, if its signature is right. Each later one must lead back to the last one that was
// seen, record by record, by the sha256 that each names of the one before. Else it is refused, whatever its id is: a
// chain that was restored from a backup, or written anew, runs nowhere until an operator has said so ([site.Accept]).
//
// # Drift
//
// A list of what a release has is made while it is made, in three steps: what the deploy has, by the sha256s that were
// checked; what was decrypted; what the operator's command has changed then, which is found by comparing. From time to
// time what runs is compared with it, beside the wait, or between two connections. What the deploy has is put right with
// contents of etcd, in place. What the node made is put right by making the release anew.
//
// # In place
//
// With Config.NoLink a release is made, prepared and made ready as ever. Then what of it differs is copied into the
// directory (package files), and the release is removed.
//
// # Invariants
//
//   - The link leads to a whole release at every moment, whenever the process is killed. In place, each file is.
//   - Whatever fails, the release that runs goes on.
//   - A head that was seen is on disk before anything of it is fetched.
//
// # Concurrency
//
// [Agent.Run] is called once. What reports, runs hooks and answers HTTP works beside it, and never delays a switch.
package agent
