package deploy

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

var (
	// ErrChanged: a key is not what it was when it was read.
	ErrChanged = errors.New("the key has changed since it was read")
	// ErrHeadMoved: another deploy is the head by now.
	ErrHeadMoved = errors.New("there is another head")
)

// Mend puts the value that head needs at a key. It is one txn, which changes nothing (ErrChanged, ErrHeadMoved) unless
// the key still has the mod revision that was read, 0 if it was missing, and head still is the head: so no newer value
// is overwritten, and nothing is written that only older deploys need. It may be applied twice: the second time it
// finds its own first one, and gives ErrChanged.
func (c *Chain) Mend(ctx context.Context, head *record.Deploy, key string, revision int64, value []byte) error {
	ifs := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(key), "=", revision),
		clientv3.Compare(clientv3.ModRevision(c.DeployKey(head.ID, record.KeyRecord)), "=",
			head.Revisions[record.KeyRecord]),
	}
	for _, which := range []int{record.KeyRecord, record.KeyPayload} {
		ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(c.DeployKey(head.ID+1, which)), "=", 0))
	}
	resp, err := c.kv.Txn(ctx).If(ifs...).Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key, clientv3.WithKeysOnly())).Commit()
	if err != nil {
		return fmt.Errorf("repair %s: %w", key, etcd.Classify(err))
	}
	if resp.Succeeded {
		return nil
	}
	now := int64(0)
	for _, kv := range resp.Responses[0].GetResponseRange().Kvs {
		now = kv.ModRevision
	}
	if now != revision {
		return ErrChanged
	}
	return ErrHeadMoved
}

// keysPerPage keeps an answer small: a key may be as long as a request.
const keysPerPage = 128

// DeployKeys lists the keys below NS/deploy/ in etcd's order, a page of those after a key ("": from the first on). An
// empty page is the end.
func (c *Chain) DeployKeys(ctx context.Context, after string) (keys []string, err error) {
	prefix := string(c.ns) + "/deploy/"
	from := prefix
	if after != "" {
		from = after + "\x00"
	}
	resp, err := c.kv.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithKeysOnly(),
		clientv3.WithLimit(keysPerPage))
	if err != nil {
		return nil, fmt.Errorf("list deploys of %s: %w", c.ns, err)
	}
	for _, kv := range resp.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, nil
}
