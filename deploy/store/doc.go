// Package store reads a chain: its head, its deploys, and the tree of each. It links neither git nor what writes a
// chain.
//
// # Words
//
// A [Reader] has the keys of a namespace: an etcd, a bundle, or a map in a test. A [Chain] reads one namespace
// through it. A node is the text that lists one directory (package tree). Content is what is in a file, and what a
// symbolic link leads to. The hint at NS/refship/head is the id that the head had when refship last published.
//
//	chain := store.Open(client, "/refship/config")
//	head, err := chain.Head(ctx)
//	err = chain.Checkout(ctx, head, "/srv/config", progress)
//
// [Chain.State] gives head, hold, lock and what is stored at one revision, [Chain.Log] the deploys from the newest
// down, [Chain.Diff] what differs between two. [Chain.List], [Chain.Cat] and [Chain.Checkout] read one. A [History]
// tells which deploys touched a path, [Commits] what each brought, [Chain.FirstWith] the first with a commit.
//
// [Chain.LogValues] and [Chain.Checkpoint] read the chain's log (package transparency), [Chain.Leaves] what belongs in it.
//
// For who looks at all of a namespace, as package verify does, [Chain.Scan] lists its keys, [Chain.CheckContents] reads
// contents and compares them, and [Chain.MgmtParts] says what mgmt needs of a deploy.
//
// # Format
//
// keys.go has the keys, and FORMAT.md of package deploy the values. A content or a node of more than [tree.ChunkSize]
// bytes is cut into chunks of that size at key/0, key/1 …; it is complete if all of them are there.
//
// A foreign deploy has neither nodes nor oids. Its tree is made of mgmt's superblock and of the contents that it names,
// as git would have it: each of them is read once, and compared with its sha256. No record vouches for any of it.
//
// # How the head is found
//
// The hint, and then the deploy that it names and the one after that, at the revision of the first answer: two reads.
// If the next deploy exists, another writer is ahead of the hint: id+1, id+2, id+4 … are probed until all
// further ones are missing, and the ids between the last two are halved. If the revision was compacted meanwhile, all
// of it is done again.
//
// # Invariants
//
//   - Nothing is believed that was not checked. A record's tree_sha256 covers the root node's text, and a node covers
//     its entries by sha256. A content is compared with its sha256 and its oid. What differs is a fault.Corrupt that
//     names the key.
//   - A directory is written whole, under its name, or not at all; nothing is written outside of it.
//   - A comparison or a walk is bounded: a few nodes that name each other can hold billions of files. Before a whole
//     tree is listed or written, it is counted (tally.go): each of its nodes is read once, and nothing was made yet.
//   - What was not stored, or gc has taken, is said to be unknown. It is never guessed.
//   - Of a node or a content no more is read than the size that leads to it, chunk by chunk.
//   - Whatever the Reader returns, paths and names are raw bytes: they are quoted before they are shown.
//
// # Concurrency
//
// A Chain may be used by many goroutines if its Reader may, and itself uses several: so its Reader must. A [Nodes], a
// [History] and a [Commits] belong to one.
package store
