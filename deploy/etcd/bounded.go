package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Bounded gives client's KV with bounds: by itself etcd's client waits until its context ends while no server
// answers. A Get or Txn is sent again while that may help (see "Trouble" in the package's documentation). So it may
// be applied twice, even after a later request of another client. Send only what can stand that: by its compares,
// because no other client puts anything else there, or because the caller counts the tries (CountTries). Put and
// Delete are sent once. Errors are classified.
func Bounded(client *Client) clientv3.KV {
	return BoundedBelow(client, "")
}

// BoundedBelow is Bounded for keys that all begin with prefix. If etcd denies one of them, the remedy names the prefix.
func BoundedBelow(client *Client, prefix string) clientv3.KV {
	b := &boundedKV{patience: patience{client}, prefix: prefix}
	b.doKV = doKV{client.KV, b.do}
	return b
}

type boundedKV struct {
	doKV
	patience patience
	prefix   string
}

// classify is Classify, but for a missing permission: its remedy names the prefix.
func (b *boundedKV) classify(err error) error {
	if b.prefix != "" && errors.Is(asEtcd(err), rpctypes.ErrPermissionDenied) {
		return classified(ErrDenied, err, adviceForPermission(b.prefix))
	}
	return Classify(err)
}

func (b *boundedKV) do(ctx context.Context, op clientv3.Op) (resp clientv3.OpResponse, err error) {
	send := func(ctx context.Context) (err error) {
		resp, err = b.send(ctx, op)
		return err
	}
	if op.IsGet() || op.IsTxn() {
		err = b.patience.try(ctx, send)
	} else {
		once, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		err = send(once)
	}
	return resp, b.classify(err)
}

// Grant grants a lease that lives for ttl seconds. It is sent again as a request of Bounded is: a lease whose answer
// was lost runs out unused. Errors are classified.
func Grant(ctx context.Context, client *Client, ttl int64) (id clientv3.LeaseID, err error) {
	err = patience{client}.try(ctx, func(ctx context.Context) error {
		resp, err := client.Grant(ctx, ttl)
		if err == nil {
			id = resp.ID
		}
		return err
	})
	return id, Classify(err)
}

// Repeat calls send, which makes one call of client's connection that changes nothing, as Bounded sends a Get: again
// while that may help, and for as long. The error is send's last one, or says that there was no answer.
func Repeat(ctx context.Context, client *Client, send func(context.Context) error) error {
	return patience{client}.try(ctx, send)
}
