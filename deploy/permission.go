package deploy

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// neverKeys are below a namespace, one in each place that deploying reads and writes; there is never such a key.
var neverKeys = [...]string{"/refship/never", "/deploy/0/never", "/storage/never"}

// MaxAsked is how many namespaces MayWrite takes: as many as one txn can ask for.
const MaxAsked = etcd.MaxOps / len(neverKeys)

// MayWrite tells, with one request, whether etcd's authentication lets the client read and write below all of the
// namespaces. It does neither: etcd looks at the permissions for all that a txn names before it looks at what is so.
// It names deletes, since etcd counts what a put takes against its quota, also of one that is not done, and refuses
// it when it is full.
func MayWrite(ctx context.Context, client *etcd.Client, namespaces []record.Namespace) (bool, error) {
	var ifs []clientv3.Cmp
	var thens []clientv3.Op
	for _, ns := range namespaces {
		for _, never := range neverKeys {
			key := string(ns) + never
			ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(key), "<", 0))
			thens = append(thens, clientv3.OpDelete(key))
		}
	}
	_, err := etcd.Bounded(client).Txn(ctx).If(ifs...).Then(thens...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask for permission to write %s: %w", namespaces[0], etcd.Classify(err))
	}
	return true, nil
}
