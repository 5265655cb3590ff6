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

// ReasonPinIncomplete: a deploy that is not whole cannot be pinned. About: its id.
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

// Pin keeps gc from taking content of a deploy, under the chain's lock, which gc takes as well. One whose content is
// not all there is a fault.Refused. It tells whether the deploy was pinned before; then the pin stays as it is.
func (c *Chain) Pin(ctx context.Context, l *Lock, d *record.Deploy, pin *record.Pin) (before bool, err error) {
	if err := c.isWhole(ctx, d); err != nil {
		if fault.Is(err, fault.Corrupt) || errors.Is(err, record.ErrMissing) {
			err = &fault.Error{
				Kind: fault.Refused, Reason: ReasonPinIncomplete, About: []string{d.ID.String()}, Cause: err,
				What: fmt.Sprintf("deploy %d of %s is not whole any more, so it cannot be kept: %v", d.ID, c.ns,
					c.Explain(ctx, err, d)),
			}
		}
		return false, err
	}
	key := c.Key(record.PinKey(d.ID))
	held := clientv3.Compare(clientv3.CreateRevision(c.Key("lock")), "=", l.revision)
	resp, err := c.kv.Txn(ctx).If(held, clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(pin.Encode()))).Else(clientv3.OpGet(key, clientv3.WithKeysOnly())).Commit()
	switch {
	case err != nil:
		return false, fmt.Errorf("pin deploy %d of %s: %w", d.ID, c.ns, err)
	case resp.Succeeded:
		return false, nil
	case len(resp.Responses[0].GetResponseRange().Kvs) > 0:
		return true, nil
	}
	return false, fmt.Errorf("pin deploy %d of %s: %w", d.ID, c.ns, ErrLockLost)
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

// MarkRun notes when a revision was read, for the age of what is there by then, and gives all such notes.
func (c *Chain) MarkRun(ctx context.Context, now time.Time) (record.Runs, error) {
	runs, revision, err := c.Runs(ctx)
	if err != nil {
		return nil, err
	}
	run := record.Run{Revision: revision, Time: now.UTC()}
	if runs = runs.Add(run); runs[len(runs)-1] == run {
		_, err = c.kv.Put(ctx, c.Key(record.RunsKey), string(runs.Encode()))
	}
	if err != nil {
		return nil, fmt.Errorf("note a run of gc in %s: %w", c.ns, err)
	}
	return runs, nil
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
