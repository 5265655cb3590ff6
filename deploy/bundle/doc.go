// Package bundle keeps a chain in one file: to be read and verified without an etcd, and to be put into another one.
//
// # Words
//
// A bundle is a file that has the keys of one chain, as of one revision of etcd. [Export] writes one from any
// store.Reader. A [File] is one that was opened, and is a store.Reader itself: all that reads a chain reads a bundle.
// [File.Import] puts its keys into an etcd whose namespace has none. A block is some keys that are compressed together.
// The index says where each block is.
//
// # What is in it
//
// The keys of FORMAT.md of package deploy that say what was deployed: deploys, superblocks, contents, nodes, git objects,
// head, hold, expired, pins, events, the log with its checkpoint and cosignatures. What only says what goes on is left
// out: the lock, nodes' reports, gc's own notes, the rollout, and what the namespace takes in etcd. So is any other key.
//
// A bundle since a deploy has the records, signatures and commits of all deploys, and the files of those from that one
// on, and of pinned ones. Its key NS/refship/expired says so, as it does where gc has taken content: the chain verifies,
// and the files of earlier deploys are told as expired. So it is whole by itself, and can be imported.
//
// # Format
//
// A bundle is a sequence of frames of zstd (RFC 8878), so that zstd -d gives all keys and values:
//
//	a skippable frame, 0x184D2A50: the header
//	a frame for each block
//	a skippable frame, 0x184D2A51: the index
//
// The header is a line "refship bundle 1", and a line of JSON: see [Header]. A block is entries as cdb's cdbmake takes
// them, sorted by key, bytewise:
//
//	+<length of key>,<length of value>:<key>-><value>\n
//
// The index has a line for each block, in their order, with spaces between, and numbers in decimal:
//
//	<offset> <bytes> <bytes uncompressed> <keys> <sha256> <first key> <last key>\n
//
// The sha256 is that of the block's frame as it is in the file. The index's last line has 90 bytes, always, so that it
// is found from the file's end: the offset of the index's frame in 20 digits, and the sha256 of the header's two lines
// and all lines of the index before this one.
//
//	end <offset> <sha256>\n
//
// FORMAT.md of package deploy has an example.
//
// # Invariants
//
//   - Nothing of a file is believed. Blocks lie one after the other, from the header to the index, without gaps; each
//     is what its sha256 says, has as many bytes, uncompressed, and keys as its line says, and the first and last key
//     that it says. Keys ascend strictly over all of the file, and each is one that belongs into the namespace that the
//     header names. Anything else is a fault.Corrupt that wraps [ErrDamaged].
//   - Memory is bounded, whatever the file claims: its index, of at most 64 MiB, and 32 MiB of blocks. No block has more
//     than 2 MiB uncompressed; no more is ever decompressed of one.
//   - A file is there whole, under its name, or not at all.
//   - While an import is under way the chain is on hold, and tells why. One that was cut off leaves that hold, and no
//     head: deploys come last, from the newest down, and those without the ones below, and without the hint at the
//     head, are no chain to any reader of refship's. It can be repeated. mgmt reads the highest id only, which comes
//     first, when all that it has is there.
//
// That the keys make a sound chain is for package verify to say.
//
// # Concurrency
//
// A File may be used by many goroutines. Of it and its etcd, an import has to have the chain's lock.
package bundle
