// Package witness compares the heads of a chain's log that several have seen, so that a history which was written anew
// cannot be shown to one and hidden from another. It links neither git nor what writes a chain.
//
// # Words
//
// A witness is a program with a memory and a key of its own: [Cosign]. A [Policy] says whose cosignatures count, and how
// many; what they cover is a [Covered]. A [Head] is a checkpoint (package transparency) that was published with the deploy that it has the size of, and signed
// by an allowed signer. A later head extends an earlier one if the log has the same leaves up to there.
//
//	head, err := witness.ReadHead(ctx, chain, signers)
//	err = head.Extends(ctx, chain, earlier)
//	note, err := witness.Cosign(head.Checkpoint, "w1", key, time.Now())
//	covered, err := policy.Covered(ctx, chain, head.Size)
//
// # Format
//
// NS/refship/cosignature/<size>/<name> is C2SP's tlog-cosignature, cosignature/v1: the checkpoint's text, and the line
//
//	— <name> <base64 of: key id, 4 bytes; seconds since 1970, 8 bytes; ed25519 signature, 64 bytes>\n
//
// where the key id is the first bytes of the sha256 of name, line feed, byte 4 and public key, and what is signed is
//
//	cosignature/v1\ntime <seconds>\n<the checkpoint's text>
//
// # Invariants
//
//   - A cosignature has one spelling: any other bytes are refused.
//   - A witness counts once, and only those count together that have signed one and the same checkpoint, whose root the
//     log has.
//   - Of the log no more is read than the root and the proof need: some 2 values for each level.
//   - Nothing is written.
//
// # Concurrency
//
// All functions may be called at the same time.
package witness
