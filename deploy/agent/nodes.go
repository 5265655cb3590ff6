package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// Forget removes the report of a node, or what a host of mgmt's wrote. One that is alive is a fault.Conflict: it would report again.
func Forget(ctx context.Context, client *etcd.Client, chain *store.Chain, name string) error {
	node, alive := chain.Key(record.NodeKeys+name), chain.Key(record.AliveKeys+name)
	deletes := []clientv3.Op{clientv3.OpDelete(node)}
	if ns := chain.Namespace(); ns.IsMgmt() {
		deletes = append(deletes, clientv3.OpDelete(string(ns)+record.HostKeys+name))
	}
	resp, err := etcd.Bounded(client).Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(alive), "=", 0)).
		Then(deletes...).Commit()
	switch {
	case err != nil:
		return err
	case !resp.Succeeded:
		return fault.New(fault.Conflict, fmt.Sprintf("node %s of %s is alive", name, chain.Namespace()),
			"stop its agent first; one that was killed counts as gone half a minute later")
	}
	deleted := int64(0)
	for _, one := range resp.Responses {
		deleted += one.GetResponseDeleteRange().Deleted
	}
	if deleted == 0 {
		return fmt.Errorf("%s has no report of a node %s", chain.Namespace(), name)
	}
	return nil
}

// WatchNodes calls changed when a node or the head may have changed, once at the start and after each pause in which
// nothing could be heard, until ctx ends, whose cause it gives, or changed fails.
func WatchNodes(ctx context.Context, client *etcd.Client, chain *store.Chain, changed func() error) error {
	for ctx.Err() == nil {
		if err := watchNodes(ctx, client, chain, changed); err != nil {
			return err
		}
		sleep(ctx, time.Second)
	}
	return context.Cause(ctx)
}

// watchNodes is WatchNodes until the watch ends.
func watchNodes(ctx context.Context, client *etcd.Client, chain *store.Chain, changed func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := client.Watch(clientv3.WithRequireLeader(ctx), string(chain.Namespace())+"/", clientv3.WithPrefix(),
		clientv3.WithCreatedNotify())
	for resp := range changes {
		if resp.Err() != nil {
			return nil
		}
		if resp.Created || isOfNodes(chain, resp.Events) {
			if err := changed(); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOfNodes tells whether a node or a deploy changed.
func isOfNodes(chain *store.Chain, events []*clientv3.Event) bool {
	for _, e := range events {
		key := string(e.Kv.Key)
		for _, prefix := range []string{
			chain.Key(record.NodeKeys), chain.Key(record.AliveKeys), chain.Key(record.RolloutKey), chain.Key("hold"),
			string(chain.Namespace()) + "/deploy/", string(chain.Namespace()) + record.HostKeys,
		} {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		}
	}
	return false
}
