package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"refship/deploy/etcd"
)

// neverKeys are below a namespace, one in each place that deploying reads and writes; there is never such a key.
var neverKeys = [...]string{"/refship/never", "/deploy/0/never", "/storage/never"}

// maxAsked is how many namespaces one txn asks for.
const maxAsked = etcd.MaxOps / len(neverKeys)

// Denied gives those of the namespaces that etcd's authentication does not let the client both read and write, in their
// order. It writes nothing. Where all are permitted it costs one request for 42 of them; for each that is not, some more:
// etcd refuses a txn as a whole.
func Denied(ctx context.Context, client *clientv3.Client, namespaces []Namespace) ([]Namespace, error) {
	if len(namespaces) == 0 {
		return nil, nil
	}
	if len(namespaces) <= maxAsked {
		err := ask(ctx, client, namespaces)
		switch {
		case !errors.Is(err, rpctypes.ErrPermissionDenied):
			return nil, err
		case len(namespaces) == 1:
			return namespaces, nil
		}
	}
	middle := len(namespaces) / 2
	halves := [...][]Namespace{namespaces[:middle], namespaces[middle:]}
	group, ctx := errgroup.WithContext(ctx)
	for i, half := range halves {
		group.Go(func() (err error) {
			halves[i], err = Denied(ctx, client, half)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(halves[0], halves[1]), nil
}

// ask gives the error of a txn that reads and writes below all of the namespaces and does neither: etcd looks at the
// permissions for all that a txn names, before it looks at what is so. Deletes, since etcd counts what a put takes against
// its quota, also of one that is not done, and refuses it when it is full.
func ask(ctx context.Context, client *clientv3.Client, namespaces []Namespace) error {
	var ifs []clientv3.Cmp
	var thens []clientv3.Op
	for _, ns := range namespaces {
		for _, never := range neverKeys {
			key := string(ns) + never
			ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(key), "<", 0))
			thens = append(thens, clientv3.OpDelete(key))
		}
	}
	if _, err := etcd.Bounded(client).Txn(ctx).If(ifs...).Then(thens...).Commit(); err != nil {
		return fmt.Errorf("ask for permission to write %s: %w", namespaces[0], etcd.Classify(err))
	}
	return nil
}
