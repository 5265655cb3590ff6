// Package record holds what is known of a deploy: ids, hashes, the record, its encoding and its signature. It asks
// neither etcd nor git.
//
// # Words
//
// A [Namespace] is the etcd prefix of one chain. An [ID] numbers a deploy in its chain: 1, 2, 3 … A deploy [Hash]
// says what was deployed: a commit's oid, or "tree:" and the oid of a plain directory's tree. A [Record] says who
// deployed, what, when and from where. A [Deploy] is a record as a chain has it: with the bytes that are stored and
// the signature over them. A foreign deploy was made by another writer (mgmt): it has no record.
//
// # Format
//
// A record is one JSON object: all fields, in the order of [Record], without HTML escaping and without a newline at
// its end. This one starts the first deploy of a commit, and is cut short:
//
//	{"format":1,"namespace":"/refship/config","chain":"8c1f…","id":1,"kind":"push","forced":false,"hash":"5d6e…",…
//
// A signature is an armored SSH signature over the record's bytes, with the namespace "refship": stock ssh-keygen -Y
// verify checks it. FORMAT.md of package deploy has every field.
//
// # Invariants
//
//   - Hash and signature are over the stored bytes. A record that was read is never encoded again to check it.
//   - A record that was read is of a format that is known, and each field is in its bounds. Fields that are not known
//     are ignored.
//   - A record is good in the namespace that it names, and in one chain of it: that has a random [ChainID].
//   - tree_sha256 covers the root node's text, and so every byte of the tree below it.
//   - A signature proves that the key that the record names has signed. Whether that key may sign is asked elsewhere.
//
// # Concurrency
//
// Values do not change once they are made, except for a [Table], which belongs to one goroutine.
package record
