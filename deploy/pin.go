package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// ReasonPinIncomplete: a deploy that is not whole cannot be pinned. About: what ReasonContentGone is about.
const ReasonPinIncomplete fault.Reason = "pin-incomplete"

// Pins gives the ids of the deploys that gc must keep, in order.
func (c *Chain) Pins(ctx context.Context) ([]record.ID, error) {
	resp, err := c.kv.Get(ctx, c.Key(record.PinPrefix), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, fmt.Errorf("read pins of %s: %w", c.ns, err)
	}
	var ids []record.ID
	for _, kv := range resp.Kvs {
		if id, ok := record.PinnedID(string(kv.Key)[len(c.Key("")):]); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Pin keeps gc from taking content of a deploy. One whose content is not all there is a fault.Refused. It tells whether
// the deploy was pinned before; then the pin stays as it is. lock takes the chain's lock, which gc takes as well: it is
// held only for a moment, unless gc may just be about to take the deploy.
func (c *Chain) Pin(
	ctx context.Context, d *record.Deploy, pin *record.Pin, lock func() (*Lock, error),
) (before bool, err error) {
	key := c.Key(record.PinKey(d.ID))
	if there, err := c.Values(ctx, key); err != nil || there[0].Revision != 0 {
		return err == nil, err
	}
	if err := c.checkWhole(ctx, d); err != nil {
		return false, err
	}
	l, err := lock()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, l.Unlock(context.WithoutCancel(ctx))) }()
	if expired, err := c.Expired(ctx); err != nil || d.ID <= expired {
		if err = errors.Join(err, c.checkWhole(ctx, d)); err != nil {
			return false, err
		}
	}
	held := clientv3.Compare(clientv3.CreateRevision(c.Key("lock")), "=", l.revision)
	resp, err := c.kv.Txn(ctx).If(held).Then(clientv3.OpPut(key, string(pin.Encode()))).Commit()
	if err == nil && !resp.Succeeded {
		err = ErrLockLost
	}
	if err != nil {
		return false, fmt.Errorf("pin deploy %d of %s: %w", d.ID, c.ns, err)
	}
	return false, nil
}

// checkWhole is isWhole in words for who wants to pin.
func (c *Chain) checkWhole(ctx context.Context, d *record.Deploy) error {
	err := c.isWhole(ctx, d)
	if !fault.Is(err, fault.Corrupt) {
		return err
	}
	return &fault.Error{
		Kind: fault.Refused, Reason: ReasonPinIncomplete, Cause: err,
		About: []string{d.ID.String(), string(d.Hash), string(c.ns), "", "", ""},
		What: fmt.Sprintf("deploy %d of %s is not whole any more, so it cannot be kept: %v", d.ID, c.ns,
			c.Explain(ctx, err, d)),
	}
}

// Unpin lets gc take content of a deploy again, and tells whether it was pinned.
func (c *Chain) Unpin(ctx context.Context, id record.ID) (bool, error) {
	resp, err := c.kv.Delete(ctx, c.Key(record.PinKey(id)))
	if err != nil {
		return false, fmt.Errorf("unpin deploy %d of %s: %w", id, c.ns, err)
	}
	return resp.Deleted > 0, nil
}

// isWhole looks whether all content of a deploy is there: the nodes are read, contents are only looked for.
func (c *Chain) isWhole(ctx context.Context, d *record.Deploy) error {
	if d.Damage != nil {
		return d.Damage
	}
	if d.Record == nil {
		return c.Diff(ctx, d, d, nil) // of a foreign deploy all is read
	}
	nodes, asked := c.NewNodes(), []string{}
	err := nodes.LoadBelow(ctx, d.Record.Root())
	if err == nil {
		err = nodes.Diff(ctx, tree.Entry{}, d.Record.Root(), func(change store.Change) error {
			if e := change.New; e.Mode != filemode.Submodule {
				asked = append(asked, store.ChunkKeys(c.ContentKey(e.SHA256), e.Size)...)
			}
			return nil
		})
	}
	if err == nil {
		var missing []string
		if missing, err = c.Missing(ctx, asked); len(missing) > 0 {
			err = record.Missing(missing[0])
		}
	}
	if err == nil && d.Record.Frontend.IsMgmt() {
		err = c.mgmtPartsAreThere(ctx, d)
	}
	return err
}

// MarkRun notes a revision and when it was read, for the age of what is there by now.
func (c *Chain) MarkRun(ctx context.Context) error {
	runs, revision, err := c.Runs(ctx)
	if err != nil {
		return err
	}
	run := record.Run{Revision: revision, Time: time.Now().UTC()} // not before the revision was read
	if runs = runs.Add(run); runs[len(runs)-1] == run {
		_, err = c.kv.Put(ctx, c.Key(record.RunsKey), string(runs.Encode()))
	}
	if err != nil {
		return fmt.Errorf("note a run of gc in %s: %w", c.ns, err)
	}
	return nil
}

// Runs reads the notes of MarkRun, and the revision that they were read at.
func (c *Chain) Runs(ctx context.Context) (runs record.Runs, revision int64, err error) {
	resp, err := c.kv.Get(ctx, c.Key(record.RunsKey))
	if err != nil {
		return nil, 0, fmt.Errorf("read gc's last runs in %s: %w", c.ns, err)
	}
	for _, kv := range resp.Kvs {
		runs = record.ParseRuns(kv.Value, kv.ModRevision)
	}
	return runs, resp.Header.Revision, nil
}
