// Package witness compares the heads of a chain's log that several have seen, so that a history which was written anew
// cannot be shown to one and hidden from another. It links neither git nor what writes a chain.
//
// # Words
//
// A [Head] is a checkpoint (package transparency) that was published with the deploy that it has the size of, and signed
// by an allowed signer. A later head extends an earlier one if the log has the same leaves up to there.
//
//	head, err := witness.ReadHead(ctx, chain, signers)
//	err = head.Extends(ctx, chain, earlier)
//
// # Invariants
//
//   - Of the log no more is read than the root and the proof need: some 2 values for each level.
//   - Nothing is written.
//
// # Concurrency
//
// All functions may be called at the same time.
package witness
