package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
)

// MaxDeletions is how many keys one Delete of a Collection takes: with the compares beside theirs, as many as a txn
// of etcd.
const MaxDeletions = etcd.MaxOps - 3

// ErrOtherWriter: a writer that knows no lock, as mgmt is, has put a superblock meanwhile.
var ErrOtherWriter = errors.New("another writer has put a superblock")

// Collection deletes content that no deploy needs, while it holds the chain's lock. What is needed is the caller's to
// know: package gc.
type Collection struct {
	State *record.State // as of when the lock was taken

	chain *Chain
	lock  *Lock
	since int64 // no superblock was put after this revision; -1: nobody but refship puts any
}

// Collect reads the chain's state under its lock. since is -1, or a revision after which no superblock was put, where
// other writers may put some.
func (c *Chain) Collect(ctx context.Context, l *Lock, since int64) (*Collection, error) {
	state, err := c.State(ctx)
	if err != nil {
		return nil, err
	}
	return &Collection{State: state, chain: c, lock: l, since: since}, nil
}

// Expire says that content of deploys up to id may be gone from now on. It must come before the first of them is
// deleted; what is said already stays. ErrLockLost says that the lock was lost, and nothing was written.
func (x *Collection) Expire(ctx context.Context, id record.ID) error {
	before, err := x.chain.Expired(ctx)
	if err != nil || id <= before {
		return err
	}
	c := x.chain
	resp, err := c.kv.Txn(ctx).If(x.held()).Then(clientv3.OpPut(c.Key(record.ExpiredKey), id.String())).Commit()
	if err == nil && !resp.Succeeded {
		err = ErrLockLost
	}
	if err != nil {
		return fmt.Errorf("expire deploys of %s: %w", c.ns, err)
	}
	return nil
}

func (x *Collection) held() clientv3.Cmp { return x.lock.Held() }

// superblocks is where mgmt's superblocks are, below the namespace.
const superblocks = "/fs/"

// Delete deletes keys, MaxDeletions at most, which hold so many bytes of values, in one txn. Each must have the mod
// revision that comes with it; those that have another, or are gone (revision 0), are given as changed, and then
// nothing was deleted. Nor was it with ErrLockLost, or with ErrOtherWriter.
func (x *Collection) Delete(
	ctx context.Context, keys []store.KeyValue, bytes int64,
) (changed map[string]int64, err error) {
	c := x.chain
	ifs, thens, elses := []clientv3.Cmp{x.held()}, []clientv3.Op{}, []clientv3.Op{}
	for _, kv := range keys {
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(kv.Key), "=", kv.Revision))
		thens = append(thens, clientv3.OpDelete(kv.Key))
		elses = append(elses, clientv3.OpGet(kv.Key, clientv3.WithKeysOnly()))
	}
	if x.since >= 0 {
		_, _, blocks := c.ContentPrefixes()
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(blocks), "<", x.since+1).WithPrefix())
	}
	stored := x.State.Stored
	if stored != nil {
		less := *stored
		less.Bytes = max(0, less.Bytes-bytes-int64(len(keys))*KeyOverhead)
		less.Unsure = min(less.Unsure, less.Bytes)
		stored = &less
		thens = append(thens, clientv3.OpPut(c.Key("stored"), string(stored.Encode())))
	}
	elses = append(elses, clientv3.OpGet(c.Key("lock"), clientv3.WithKeysOnly()))
	tries := 0
	resp, err := c.kv.Txn(etcd.CountTries(ctx, &tries)).If(ifs...).Then(thens...).Else(elses...).Commit()
	switch {
	case err != nil:
		return nil, fmt.Errorf("delete content of %s: %w", c.ns, err)
	case resp.Succeeded:
		x.State.Stored = stored
		return nil, nil
	}
	lock := resp.Responses[len(keys)].GetResponseRange().Kvs
	if len(lock) == 0 || lock[0].CreateRevision != x.lock.revision {
		return nil, fmt.Errorf("delete content of %s: %w", c.ns, ErrLockLost)
	}
	changed, gone := map[string]int64{}, 0
	for i, kv := range keys {
		now := int64(0)
		for _, found := range resp.Responses[i].GetResponseRange().Kvs {
			now = found.ModRevision
		}
		if now != kv.Revision {
			changed[kv.Key] = now
		}
		if now == 0 {
			gone++
		}
	}
	switch {
	case gone == len(keys) && tries > 1: // an earlier try of this call has deleted them, and its answer was lost
		x.State.Stored = stored
		return nil, nil
	case len(changed) == 0:
		return nil, ErrOtherWriter
	}
	return changed, nil
}

// ContentPrefixes are where content is: nodes, contents and superblocks.
func (c *Chain) ContentPrefixes() (nodes, contents, blocks string) {
	return c.Key("tree/"), string(c.ns) + "/storage/{sha256}", string(c.ns) + superblocks
}

// ContentKeys calls fn for each key below one of ContentPrefixes, with its mod revision. Values are not sent.
func (c *Chain) ContentKeys(ctx context.Context, prefix string, fn func(key string, revision int64)) error {
	below := strings.TrimPrefix(prefix, string(c.ns))
	err := c.Scan(ctx, below, true, func(kv store.KeyValue) { fn(kv.Key, kv.Revision) })
	if err != nil {
		return fmt.Errorf("list what %s holds: %w", c.ns, err)
	}
	return nil
}

// BlocksSince tells whether a superblock was put after a revision, and gives the revision as of which it tells that.
func (c *Chain) BlocksSince(ctx context.Context, revision int64) (some bool, at int64, err error) {
	_, _, blocks := c.ContentPrefixes()
	none := clientv3.Compare(clientv3.ModRevision(blocks), "<", revision+1).WithPrefix()
	resp, err := c.kv.Txn(ctx).If(none).Commit()
	if err != nil {
		return false, 0, fmt.Errorf("look for superblocks of %s: %w", c.ns, err)
	}
	return !resp.Succeeded, resp.Header.Revision, nil
}
