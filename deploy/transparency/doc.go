// Package transparency is a log of a chain's deploys as in RFC 6962: a head of 100 bytes stands for all of the history,
// and a short proof shows that a later head extends it. It is pure: it reads no etcd. Package deploy writes the log,
// package store reads it, package verify compares it with the deploys, and package witness compares heads.
//
// # Words
//
// A leaf is what the log has of one deploy: leaf n−1 is deploy n's record, [ForeignLeaf] of a deploy without one, or
// [MissingLeaf]. A [Checkpoint] is the log's head: its size and its root. A [Tree] is what appending needs to know of
// a log. [Reader] reads the values of leaves.
//
// # Format
//
// The value of NS/refship/log/<n>, of deploy n, is the hashes that leaf n−1 completes (golang.org/x/mod/sumdb/tlog,
// StoredHashes): 32 bytes each, those of level 0 first. Hash i of level L covers the leaves from i<<L to
// ((i+1)<<L)−1, and stands in the value of the last of them at byte 32·L. So a value is written once, with its deploy,
// and never again. In a log of four deploys
//
//	log/1   H(leaf 0)
//	log/2   H(leaf 1)  H(leaves 0–1)
//	log/3   H(leaf 2)
//	log/4   H(leaf 3)  H(leaves 2–3)  H(leaves 0–3)
//
// where H of a leaf is the sha256 of a zero byte and the leaf's bytes, and H above that of a byte of 1 and both hashes
// below. The leaf of a foreign deploy is
//
//	foreign <id>\n<sha256 of the payload, 64 hex digits>\n<deploy hash, or ->\n
//
// and that of one of which neither a record nor a payload was left when it was logged
//
//	missing <id>\n
//
// A checkpoint is a signed note (golang.org/x/mod/sumdb/note) as in C2SP's tlog-checkpoint:
//
//	refship/<chain id>\n<size, decimal>\n<root, base64>\n\n— <name of the key> <base64 of the key's hash and signature>\n
//
// The signature is by an ed25519 key over the text up to the blank line. In etcd there is one, by the key that signed the
// record of deploy <size>, under the name of the first line; several servers are several keys of that name.
//
// # Invariants
//
//   - A value whose length is not that of its leaf is an error, and is never hashed.
//   - A root reads a value for each 1 of the size in binary. A proof reads two values for each level at most, however long the log is.
//
// # Concurrency
//
// All functions may be called at the same time, if the Reader may.
package transparency
