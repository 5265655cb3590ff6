package deploy

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/record"
)

// Delete deletes a chain whose lock is held: its deploys, their content, and the lock, in one txn. Afterwards the
// namespace is as if nothing had ever been deployed there; other keys in it stay. A chain on hold is a fault.Conflict,
// and ErrLockLost says that nothing was deleted since the lock was lost.
//
// It is not for mgmt's namespaces, where content may be another program's.
func (c *Chain) Delete(ctx context.Context, l *Lock) error {
	hold, below := c.Key("hold"), string(c.ns)
	resp, err := c.kv.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(c.Key("lock")), "=", l.revision),
		clientv3.Compare(clientv3.CreateRevision(hold), "=", 0),
	).Then(
		clientv3.OpDelete(below+"/deploy/", clientv3.WithPrefix()),
		clientv3.OpDelete(below+"/storage/", clientv3.WithPrefix()),
		clientv3.OpDelete(below+"/refship/", clientv3.WithPrefix()),
	).Else(clientv3.OpGet(hold)).Commit()
	if err != nil {
		return fmt.Errorf("delete chain %s: %w", c.ns, err)
	}
	if resp.Succeeded {
		l.markFree()
		c.log.DebugContext(ctx, "step", "at", "chain-deleted")
		return nil
	}
	if held := resp.Responses[0].GetResponseRange().Kvs; len(held) > 0 {
		return c.heldError(record.ParseHold(held[0].Value))
	}
	return fmt.Errorf("delete chain %s: %w", c.ns, ErrLockLost)
}
