package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
	"refship/deploy/witness"
)

// Cosign stores a cosigned checkpoint, one of the chain's log as it is. by is the name of the key that may do no
// more than cosign: it cosigns under that name, and over each size under at most witness.MaxSuffixes that are it and
// .SUFFIX,
// so that it cannot fill etcd. "": any name will do. Whether the signature is good is for those who know the witness's
// key.
func (c *Chain) Cosign(ctx context.Context, note []byte, by string) (*witness.Cosignature, error) {
	signed, err := witness.ParseCosignature(note)
	switch {
	case err != nil:
		return nil, fault.Newf(fault.Refused, "read what was cosigned: %w", err)
	case by != "" && signed.Name != by && !strings.HasPrefix(signed.Name, by+"."):
		return nil, fault.Newf(fault.Refused, "the name %s is another's: a witness is called as its key is, or that and "+
			".SUFFIX", signed.Name)
	}
	key := witness.CosignatureKey(c.Chain, signed.Size, signed.Name)
	for {
		if err := c.isOfLog(ctx, signed.Checkpoint); err != nil {
			return nil, err
		}
		ifs := []clientv3.Cmp{
			clientv3.Compare(clientv3.CreateRevision(c.DeployKey(signed.Size, record.KeyRecord)), ">", 0),
		}
		if by != "" && signed.Name != by {
			suffixes := witness.CosignatureKey(c.Chain, signed.Size, by+".")
			unchanged, err := c.hasRoomFor(ctx, suffixes, key)
			if err != nil {
				return nil, err
			}
			ifs = append(ifs, unchanged)
		}
		resp, err := c.kv.Txn(ctx).If(ifs...).Then(clientv3.OpPut(key, string(note))).Commit()
		switch {
		case err != nil:
			return nil, fmt.Errorf("store %s: %w", key, err)
		case resp.Succeeded:
			return signed, nil
		} // the deploy is gone, or another suffix has come
	}
}

// hasRoomFor refuses one key more below a prefix than there may be cosignatures. The compare holds as long as no other
// one comes.
func (c *Chain) hasRoomFor(ctx context.Context, prefix, key string) (unchanged clientv3.Cmp, err error) {
	found, err := c.kv.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithLimit(witness.MaxSuffixes+1))
	if err != nil {
		return unchanged, fmt.Errorf("read cosignatures: %w", err)
	}
	isThere := slices.ContainsFunc(found.Kvs, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == key })
	if !isThere && len(found.Kvs) >= witness.MaxSuffixes {
		return unchanged, fault.New(fault.Refused, fmt.Sprintf("%s has as many cosignatures as one key may store (limit %d)",
			prefix, witness.MaxSuffixes), "let each witness have a key of its own on the server")
	}
	compare := clientv3.Compare(clientv3.CreateRevision(prefix), "<", found.Header.Revision+1)
	return compare.WithPrefix(), nil
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
