package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
	"refship/keys"
)

const (
	// ReasonNoCheckpoint: the chain has no checkpoint. About: its namespace.
	ReasonNoCheckpoint fault.Reason = "no-checkpoint"
	// ReasonForked: a chain's log does not extend what was seen of it.
	ReasonForked fault.Reason = "log-forked"
)

// Head is the head of a chain's log that can be believed as far as its signer can.
type Head struct {
	transparency.Checkpoint
	Signed []byte         // the note
	Deploy *record.Deploy // the deploy of its size
	Signer string         // the allowed signer; "" if it is not known whose signatures count
}

// ReadHead reads the head of a chain's log, and judges it. allowed is nil where it is not known whose signatures count.
// Without one it is fault.Failed, and fault.Corrupt if it cannot be believed.
func ReadHead(ctx context.Context, chain *store.Chain, allowed *keys.AllowedSigners) (*Head, error) {
	cp, err := chain.Checkpoint(ctx)
	switch {
	case err != nil:
		return nil, err
	case cp.Revision == 0:
		return nil, &fault.Error{
			Kind: fault.Failed, What: fmt.Sprintf("%s has no checkpoint", chain.Namespace()), Reason: ReasonNoCheckpoint,
			About: []string{string(chain.Namespace())},
		}
	}
	return judge(ctx, chain, cp, allowed)
}

func judge(
	ctx context.Context, chain *store.Chain, cp *store.Checkpoint, allowed *keys.AllowedSigners,
) (*Head, error) {
	h := &Head{Checkpoint: cp.Checkpoint, Signed: cp.Signed}
	d, err := chain.Get(ctx, cp.Size)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err := cp.Judge(chain, d); err != nil {
		return nil, err
	}
	h.Deploy = d
	if allowed, err = record.NewTrust(allowed, chain.Down).Signers(ctx, d); err != nil {
		return nil, err
	}
	if allowed != nil {
		if h.Signer, err = d.Judge(allowed); err != nil {
			return nil, err
		}
	}
	return h, h.checkRoot(ctx, chain)
}

// checkRoot compares the log's root, and its newest leaf, with the head.
func (h *Head) checkRoot(ctx context.Context, chain *store.Chain) error {
	var last []byte
	read := chain.LogReader(ctx)
	root, err := transparency.Root(h.Size, func(ids []record.ID) ([][]byte, error) {
		values, err := read(ids)
		if err == nil {
			last = values[len(values)-1]
		}
		return values, err
	})
	leaf := transparency.LeafHash(h.Deploy.RecordBytes)
	switch {
	case err != nil:
		return logError(chain, err)
	case root != h.Root:
		return record.Corrupt(chain.Key(store.CheckpointKey), "its root is not that of the log")
	case !bytes.HasPrefix(last, leaf[:]):
		return record.Corrupt(chain.LogKey(h.Size), "it is not that of the deploy's record")
	}
	return nil
}

// logError makes a fault.Corrupt of what package transparency says of the log.
func logError(chain *store.Chain, err error) error {
	if transparency.IsDamage(err) {
		return record.Corrupt(chain.Key(store.LogPrefix), err.Error())
	}
	return err
}

// Extends proves that the head extends one that was seen earlier. A fork is a fault.Corrupt with ReasonForked.
func (h *Head) Extends(ctx context.Context, chain *store.Chain, earlier transparency.Checkpoint) error {
	err := transparency.CheckExtends(earlier, h.Checkpoint, chain.LogReader(ctx))
	if !errors.Is(err, transparency.ErrForked) {
		return logError(chain, err)
	}
	why := "the histories differ"
	switch {
	case earlier.Chain != h.Chain:
		why = fmt.Sprintf("that was of chain %s, and this is %s", earlier.Chain, h.Chain)
	case earlier.Size > h.Size:
		why = fmt.Sprintf("it has %d deploys by now", h.Size)
	}
	return forked(chain, earlier.Size, why)
}

func forked(chain *store.Chain, seen record.ID, why string) error {
	return &fault.Error{
		Kind: fault.Corrupt, Reason: ReasonForked,
		What: fmt.Sprintf("the log of %s does not extend what was seen of it, deploy %d: %s", chain.Namespace(), seen, why),
	}
}
