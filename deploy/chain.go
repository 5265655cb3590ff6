package deploy

import (
	"context"
	"fmt"
	"log/slog"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy/etcd"
	"refship/deploy/text"
	"refship/keys"
)

// Chain is the chain of one namespace.
type Chain struct {
	client *clientv3.Client
	kv     clientv3.KV // client's, with a bound on how long one request may take
	ns     Namespace
	log    *slog.Logger
}

// Open gives the chain of a namespace; it asks etcd nothing yet.
func Open(client *clientv3.Client, ns Namespace, log *slog.Logger) *Chain {
	return &Chain{client: client, kv: etcd.BoundedBelow(client, string(ns)+"/"), ns: ns, log: log.With("namespace", string(ns))}
}

// Namespace is the chain's namespace.
func (c *Chain) Namespace() Namespace { return c.ns }

// The keys of deploy N that its publishing txn writes, in the order of a Deploy's revisions.
const (
	keyHash = iota
	keyRecord
	keySignature
	keyPayload
	keysPerDeploy
)

var deployKeys = [keysPerDeploy]string{"hash", "record", "signature", "payload"}

func (c *Chain) deployKey(id ID, which int) string {
	return fmt.Sprintf("%s/deploy/%d/%s", c.ns, id, deployKeys[which])
}

// own gives a key of refship's own below the namespace.
func (c *Chain) own(name string) string { return string(c.ns) + "/refship/" + name }

// Deploy is one published deploy as etcd has it.
type Deploy struct {
	ID          ID
	Hash        Hash    // "" for a foreign deploy without one
	Record      *Record // nil for a foreign deploy
	RecordBytes []byte  // what is stored: hash and signature cover these
	Signature   []byte  // armored SSH signature over RecordBytes; nil if unsigned

	revisions [keysPerDeploy]int64 // mod revisions of its keys; 0: absent
}

// By says who deployed, for a sentence.
func (d *Deploy) By() string {
	if d.Record == nil {
		return "another writer"
	}
	return text.Printable(d.Record.Pusher.Name)
}

// maxProbes is how many ids one txn asks for: two operations each.
const maxProbes = etcd.MaxOps / 2

// deploysPerTxn is how many deploys one txn reads.
const deploysPerTxn = etcd.MaxOps / keysPerDeploy

// Head reads the deploy with the highest id; nil if there is none yet. It costs two requests while the hint at
// NS/refship/head is right, and a few more, by doubling steps, when another writer is ahead of it.
func (c *Chain) Head(ctx context.Context) (*Deploy, error) {
	state, err := c.State(ctx)
	if err != nil {
		return nil, err
	}
	return state.Head, nil
}

// headAt finds the head at a revision, knowing that it may be low.
func (c *Chain) headAt(ctx context.Context, rev int64, low ID) (*Deploy, error) {
	for {
		head, next, err := c.top(ctx, low, rev)
		switch {
		case err != nil:
			return nil, err
		case next:
			if low, err = c.gallop(ctx, rev, low+1); err != nil {
				return nil, err
			}
		case head == nil && low > 0: // a hint beyond the chain
			low = 0
		default:
			return head, nil
		}
	}
}

// top reads deploy low (nil if it is not there; there is no deploy 0) and tells whether the next one exists.
func (c *Chain) top(ctx context.Context, low ID, rev int64) (d *Deploy, next bool, err error) {
	ops := c.readOps(nil, low, rev)
	for which := range deployKeys {
		ops = append(ops, clientv3.OpGet(c.deployKey(low+1, which), clientv3.WithCountOnly(), clientv3.WithRev(rev)))
	}
	resp, err := c.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, false, fmt.Errorf("read head of %s: %w", c.ns, etcd.Classify(err))
	}
	var above [keysPerDeploy]bool
	for which := range deployKeys {
		above[which] = resp.Responses[keysPerDeploy+which].GetResponseRange().Count > 0
	}
	if next = above[keyRecord] || above[keyPayload]; next {
		return nil, true, nil
	}
	if low > 0 {
		if d, err = c.take(low, resp.Responses); d == nil || err != nil {
			return nil, false, err
		}
	}
	for which := range deployKeys {
		if above[which] {
			return nil, false, &CorruptError{Key: c.deployKey(low+1, which), What: "it is there without the deploy's record"}
		}
	}
	return d, false, nil
}

// gallop finds the highest id, knowing that low exists: low+1, low+2, low+4 … until one is missing, then halves.
func (c *Chain) gallop(ctx context.Context, rev int64, low ID) (ID, error) {
	var ids []ID
	for step := ID(1); len(ids) < maxProbes-1 && low+step > low; step *= 2 {
		ids = append(ids, low+step)
	}
	there, err := c.probe(ctx, rev, ids)
	if err != nil {
		return 0, err
	}
	high := low + 1 // missing, in the end
	for i, id := range ids {
		if !there[i] {
			high = id
			break
		}
		low = id
	}
	for low+1 < high {
		middle := low + (high-low)/2
		there, err := c.probe(ctx, rev, []ID{middle})
		if err != nil {
			return 0, err
		}
		if there[0] {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// probe tells which deploys exist at a revision.
func (c *Chain) probe(ctx context.Context, rev int64, ids []ID) ([]bool, error) {
	ops := make([]clientv3.Op, 0, 2*len(ids))
	for _, id := range ids {
		for _, which := range []int{keyRecord, keyPayload} {
			ops = append(ops, clientv3.OpGet(c.deployKey(id, which), clientv3.WithCountOnly(), clientv3.WithRev(rev)))
		}
	}
	resp, err := c.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("read head of %s: %w", c.ns, etcd.Classify(err))
	}
	there := make([]bool, len(ids))
	for i := range ids {
		there[i] = resp.Responses[2*i].GetResponseRange().Count+resp.Responses[2*i+1].GetResponseRange().Count > 0
	}
	return there, nil
}

// Get reads one deploy; ErrNotFound if the chain has none of that id.
func (c *Chain) Get(ctx context.Context, id ID) (*Deploy, error) {
	deploys, err := c.read(ctx, []ID{id}, 0)
	if err != nil {
		return nil, err
	}
	if deploys[0] == nil {
		return nil, fmt.Errorf("read deploy %d of %s: %w", id, c.ns, ErrNotFound)
	}
	return deploys[0], nil
}

// Log calls fn for each deploy from the newest down, for at most limit of them (0: all).
func (c *Chain) Log(ctx context.Context, limit int, fn func(*Deploy) error) error {
	head, err := c.Head(ctx)
	if err != nil || head == nil {
		return err
	}
	left := int(head.ID)
	if limit > 0 {
		left = min(left, limit)
	}
	for next := head.ID; left > 0; {
		var ids []ID
		for ; left > 0 && len(ids) < deploysPerTxn; left-- {
			ids = append(ids, next)
			next--
		}
		deploys, err := c.read(ctx, ids, 0)
		for i, d := range deploys {
			if d == nil {
				return c.gapError(ids[i])
			}
			if err := fn(d); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read gets deploys in one txn at a revision (0: now); nil for one that is not there. If one is corrupt, those before it
// come with the error.
func (c *Chain) read(ctx context.Context, ids []ID, rev int64) ([]*Deploy, error) {
	ops := make([]clientv3.Op, 0, keysPerDeploy*len(ids))
	for _, id := range ids {
		ops = c.readOps(ops, id, rev)
	}
	resp, err := c.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("read deploys of %s: %w", c.ns, etcd.Classify(err))
	}
	deploys := make([]*Deploy, len(ids))
	for i, id := range ids {
		if deploys[i], err = c.take(id, resp.Responses[i*keysPerDeploy:]); err != nil {
			return deploys[:i], err
		}
	}
	return deploys, nil
}

// readOps appends what reads one deploy; take reads the answers.
func (c *Chain) readOps(ops []clientv3.Op, id ID, rev int64) []clientv3.Op {
	for which := range deployKeys {
		opts := []clientv3.OpOption{clientv3.WithRev(rev)}
		if which == keyPayload {
			opts = append(opts, clientv3.WithKeysOnly()) // it may be large, and only its revision is of use
		}
		ops = append(ops, clientv3.OpGet(c.deployKey(id, which), opts...))
	}
	return ops
}

// take makes a deploy of the answers to readOps; nil if there is none.
func (c *Chain) take(id ID, answers []*etcdserverpb.ResponseOp) (*Deploy, error) {
	d := &Deploy{ID: id}
	for which := range deployKeys {
		kvs := answers[which].GetResponseRange().Kvs
		if len(kvs) == 0 {
			continue
		}
		d.revisions[which] = kvs[0].ModRevision
		switch which {
		case keyHash:
			d.Hash = Hash(kvs[0].Value)
		case keyRecord:
			d.RecordBytes = kvs[0].Value
		case keySignature:
			d.Signature = kvs[0].Value
		}
	}
	switch {
	case d.revisions[keyRecord] != 0:
		if err := c.check(d); err != nil {
			return nil, err
		}
		return d, nil
	case d.revisions[keySignature] != 0:
		return nil, &CorruptError{Key: c.deployKey(id, keyRecord), What: "the record is missing, its signature is there"}
	case d.revisions[keyPayload] != 0:
		if _, err := ParseHash(string(d.Hash)); err != nil {
			d.Hash = "" // another writer's, and none that could be compared
		}
		return d, nil
	case d.revisions[keyHash] != 0:
		return nil, &CorruptError{Key: c.deployKey(id, keyHash), What: "it is there without the deploy's record"}
	}
	return nil, nil
}

// check decodes a deploy's record and holds it against the keys it stands at, and against its signature, which must be
// by the key that the record names. Whether that key is to be trusted is not asked here.
func (c *Chain) check(d *Deploy) error {
	record, err := decodeRecord(d.RecordBytes)
	corrupt := func(which int, what string) error { return &CorruptError{Key: c.deployKey(d.ID, which), What: what} }
	signed := d.revisions[keySignature] != 0
	switch {
	case err != nil:
		return corrupt(keyRecord, err.Error())
	case record.ID != d.ID:
		return corrupt(keyRecord, fmt.Sprintf("the record is that of deploy %d", record.ID))
	case record.Hash != d.Hash:
		return corrupt(keyHash, fmt.Sprintf("the record says %s", record.Hash))
	case signed != (record.Signer != ""):
		return corrupt(keySignature, fmt.Sprintf("a signature is there: %t; the record names the signer %q", signed, record.Signer))
	}
	if signed {
		key, err := keys.Verify(signatureNamespace, d.RecordBytes, d.Signature)
		if err != nil {
			return corrupt(keySignature, err.Error())
		}
		if by := ssh.FingerprintSHA256(key); by != record.Signer {
			return corrupt(keySignature, fmt.Sprintf("it is by %s, the record names the signer %s", by, record.Signer))
		}
	}
	d.Record = record
	return nil
}

// newestRecord gives the newest deploy with a record at or below d, nil if there is none: foreign deploys have none.
func (c *Chain) newestRecord(ctx context.Context, d *Deploy) (*Deploy, error) {
	if d == nil || d.Record != nil {
		return d, nil
	}
	for next := d.ID - 1; next > 0; {
		var ids []ID
		for ; next > 0 && len(ids) < deploysPerTxn; next-- {
			ids = append(ids, next)
		}
		deploys, err := c.read(ctx, ids, 0)
		if err != nil {
			return nil, err
		}
		for i, d := range deploys {
			if d == nil {
				return nil, c.gapError(ids[i])
			}
			if d.Record != nil {
				return d, nil
			}
		}
	}
	return nil, nil
}

func (c *Chain) gapError(id ID) error {
	return &CorruptError{Key: c.deployKey(id, keyRecord), What: "the deploy is missing, a later one is there"}
}
