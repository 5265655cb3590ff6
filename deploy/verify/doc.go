// Package verify proves a chain, byte for byte, from a [store.Reader] alone.
//
// # Words
//
// A [Check] is one thing that can be proved of a deploy, and an [Answer] says whether it holds. A [Finding] is what
// does not hold, with the key that it is about. A thing is a directory's node or a content. An orphan is a content, a
// node, a git object or a superblock that no deploy names: a push that died has left it, and gc takes it. A stray key
// is one that belongs to nothing.
//
//	result, err := verify.Run(ctx, verify.Config{Chain: chain, Allowed: signers, Deploy: tell})
//
// # What is proved of a deploy
//
//	record        it is there, in its bounds, of this namespace and id; hash says the same
//	chain         ids without gaps; previous_record, chain id, previous_hash and time fit the deploys below
//	signature     it covers the record, and an allowed signer made it, who might sign at the record's time
//	commit        the commit hashes to the deploy hash, and has the record's tree, at the path
//	ancestry      the commit's parents lead to the previous hash
//	tree          each directory's node has the size, sha256 and tree oid that lead to it, from the record's on
//	contents      each content has the size, sha256 and blob oid that its directory names
//	mgmt          payload and superblock say what the record and its tree do, and what they name is there
//	commit signature, tag, push certificate
//	              what git signed, by an allowed signer at that time; the certificate asks for this deploy
//	log           the chain's log (package transparency) has the deploy as it is
//
// A foreign deploy has no record: its payload and superblock are read, and its contents compared with their sha256. The
// log has its payload and its hash as they were when refship published the next deploy; nothing else vouches for it but
// the previous_hash of the record above.
//
// Each value of the log is what the deploys give. The checkpoint is signed by the key of its deploy, and says which of
// the two was changed where a deploy and its leaf differ.
//
// Where it is known whose signatures count, a deploy that a stranger signed does not hold. An unsigned one does if a
// record above, which does, names it by its sha256. Then its bytes are proved, and not who made it.
//
// # What is not proved
//
// That the newest deploys were deleted, or that who has the key signed all of it anew, no chain can show by itself: a
// [Seen] can, which is kept elsewhere. The values of lock, hold, stored, gc, events and keep prove nothing and are not
// looked at. Of expired it is proved that it is an id below the head.
//
// # Invariants
//
//   - Each node, content and commit is read once, however many deploys have it. For mgmt's frontends a node may be read
//     a second time.
//   - In memory are: all commits that are stored, some 250 bytes for each distinct directory and content and for each
//     deploy, and of values what four reads bring.
//   - Nothing is written. Deploys never change, so nothing is locked: what is published while Run works is left out,
//     and what gc takes meanwhile is expired.
//
// # Concurrency
//
// Run may be called many times at once. It calls Deploy and Progress from its own goroutine, or under a lock.
package verify
