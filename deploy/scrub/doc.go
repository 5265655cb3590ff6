// Package scrub reads what the head of a chain needs out of etcd, byte by byte, and repairs from the repository what is
// damaged or missing.
//
// # Words
//
// A [Target] is a chain and the repository that is deployed into it. What a head needs is the commit's object, with a
// path the trees down to it, the nodes of its tree, and its contents with all their chunks; with mgmt's frontends also
// the payload, the superblock, the metadata.yaml that was added, and large contents at one key. A [Finding] is one key
// that was damaged. A stray key is one below NS/deploy/ that belongs to no deploy.
//
//	result, err := scrub.Run(ctx, scrub.Config{Store: store, Found: tell}, target)
//
// # What decides
//
// The head's signed record decides what is right. It must be signed by an allowed signer: a head that is damaged, or
// unsigned, or a stranger's is told and not looked into, since nothing vouches for it. So is a foreign head, which in
// mgmt's namespaces is no damage. From the record down each node is compared with the size and sha256 that the one
// above names, and with its tree oid; each content with its sha256 and its blob oid; each git object with its oid.
//
// A repair is taken from git and compared with the same before it is written: node texts are made anew from git's trees
// and blobs, from the bottom up, as a deploy makes them. The repository must have the commit, and that commit the
// record's tree at the record's path, or nothing is repaired. What git has in another form is told as not repaired: a
// record that signed a wrong sha256 stays wrong until something is published anew. Nothing below NS/deploy/ is ever
// written.
//
// # Beside a running push
//
// No lock is taken. A repair is one txn for each key. It compares the key's mod revision with what was read, and that
// the head still is the head. That is enough:
//
//   - Contents, nodes and objects are addressed by their hash, and pushes only add them: two writers of one key write
//     the same value, in any order.
//   - A key that was changed since it was read is not overwritten: it is read and judged again.
//   - Only what the head needs is written, and the head needs it at the revision of the txn. What a deletion may take
//     away is never put back. If a push publishes meanwhile, the scrub begins again at the new head, and passes over
//     what it has found sound.
//
// # Invariants
//
//   - If a tree key exists, everything below it exists: a node is repaired after all below it is sound or repaired.
//     Above what cannot be repaired, nodes stay as they are.
//   - What is sound is not written.
//   - At most four values are in flight, of about 1 MiB together. Kept are the nodes on the way from the root down, and
//     a hash for each distinct directory and content, some 100 bytes each.
//   - A gentle scrub rests after each read, for four times as long as the read and the look at it took.
//
// # Concurrency
//
// Run may be called many times at once, also for one target. It calls Found and Progress from its own goroutine.
package scrub
