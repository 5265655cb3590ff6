package deploy

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
	"refship/deploy/witness"
)

// Cosign stores a cosigned checkpoint, one of the chain's log as it is. mayUse says whether a name may be used. Whether
// its signature is good is for those who know the witness's key.
func (c *Chain) Cosign(ctx context.Context, note []byte, mayUse func(name string) bool) (*witness.Cosignature, error) {
	signed, err := witness.ParseCosignature(note)
	switch {
	case err != nil:
		return nil, fault.Newf(fault.Refused, "read what was cosigned: %w", err)
	case !mayUse(signed.Name):
		return nil, fault.Newf(fault.Refused, "the name %s is another's: a witness is called as its key is, or that and "+
			".SUFFIX", signed.Name)
	}
	if err := c.isOfLog(ctx, signed.Checkpoint); err != nil {
		return nil, err
	}
	key := witness.CosignatureKey(c.Chain, signed.Size, signed.Name)
	newest := clientv3.Compare(clientv3.CreateRevision(c.DeployKey(signed.Size, record.KeyRecord)), ">", 0)
	resp, err := c.kv.Txn(ctx).If(newest).Then(clientv3.OpPut(key, string(note))).Commit()
	switch {
	case err != nil:
		return nil, fmt.Errorf("store %s: %w", key, err)
	case !resp.Succeeded:
		return nil, c.anotherLog(signed.Size, "that deploy is gone")
	}
	return signed, nil
}

// isOfLog refuses a checkpoint that is not of the chain's log.
func (c *Chain) isOfLog(ctx context.Context, cp transparency.Checkpoint) error {
	d, err := c.Get(ctx, cp.Size)
	switch {
	case err != nil:
		return err
	case d.Record == nil || d.Record.Chain != cp.Chain:
		return c.anotherLog(cp.Size, "it is of another chain")
	}
	root, err := transparency.Root(cp.Size, c.LogReader(ctx))
	if err != nil {
		if transparency.IsDamage(err) {
			err = record.Corrupt(c.Key(store.LogPrefix), err.Error())
		}
		return err
	}
	if root != cp.Root {
		return c.anotherLog(cp.Size, "the histories differ")
	}
	return nil
}

func (c *Chain) anotherLog(size record.ID, why string) error {
	return fault.New(fault.Corrupt,
		fmt.Sprintf("the checkpoint of deploy %d that was cosigned is not one of %s: %s", size, c.ns, why),
		"if the chain is as it should be, let the witness look at it again")
}
