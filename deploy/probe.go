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
	"refship/deploy/fault"
	"refship/deploy/record"
)

// Ping tells whether etcd answers, and has a leader. See etcd.Ping.
func (s *Store) Ping(ctx context.Context) error { return etcd.Ping(ctx, s.client) }

// Space is what etcd holds, and may hold without Config.KeptFree.
func (s *Store) Space(ctx context.Context) (etcd.Space, error) {
	space, err := etcd.ReadSpace(ctx, s.client)
	if space.Quota > 0 {
		space.Quota -= s.cfg.KeptFree
	}
	return space, err
}

// IsOwn tells whether etcd is one that only refship uses, in a server's data directory on this machine.
func (s *Store) IsOwn() bool { return s.cfg.EtcdDir != "" }

// MakeRoom is etcd.MakeRoom.
func (s *Store) MakeRoom(ctx context.Context) (etcd.Made, error) { return etcd.MakeRoom(ctx, s.client) }

// neverKeys are below a namespace, one in each place that deploying reads and writes. No such key ever exists.
var neverKeys = [...]string{"/refship/never", "/deploy/0/never", "/storage/never"}

const (
	// maxAsked is how many namespaces fit into one txn.
	maxAsked = etcd.MaxOps / len(neverKeys)
	// maxAsking is how many txns Denied has in flight.
	maxAsking = 16
)

// Denied asks etcd below which of the namespaces its authentication does not let this process read and write. It
// gives an error of kind Refused, with a remedy, for each of them, in their order. Namespaces are asked for together,
// and one by one only where that was denied. Nothing is written.
func (s *Store) Denied(ctx context.Context, namespaces []record.Namespace) (denied []error, err error) {
	suspects, err := s.deniedGroups(ctx, namespaces, maxAsked)
	if err != nil {
		return nil, err
	}
	if suspects, err = s.deniedGroups(ctx, suspects, 1); err != nil {
		return nil, err
	}
	for _, ns := range suspects {
		denied = append(denied, fault.New(fault.Refused,
			string(ns)+": etcd's role may not read and write there, its pushes are refused", etcd.GrantRemedy(string(ns)+"/")))
	}
	return denied, nil
}

// deniedGroups asks for groups of namespaces at the same time, and gives the members of those that are denied.
func (s *Store) deniedGroups(ctx context.Context, namespaces []record.Namespace, size int) ([]record.Namespace, error) {
	groups := slices.Collect(slices.Chunk(namespaces, size))
	denied := make([]bool, len(groups))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(maxAsking)
	for i, group := range groups {
		asking.Go(func() (err error) {
			denied[i], err = s.isDenied(ctx, group)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	var all []record.Namespace
	for i, group := range groups {
		if denied[i] {
			all = append(all, group...)
		}
	}
	return all, nil
}

// isDenied asks with one txn whether etcd denies one of the namespaces. etcd looks at the permissions for all that a
// txn names, and only then compares: this one changes nothing. It names deletes, since a full etcd refuses a txn with
// puts.
func (s *Store) isDenied(ctx context.Context, namespaces []record.Namespace) (bool, error) {
	var ifs []clientv3.Cmp
	var thens []clientv3.Op
	for _, ns := range namespaces {
		for _, never := range neverKeys {
			key := string(ns) + never
			ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(key), "<", 0))
			thens = append(thens, clientv3.OpDelete(key))
		}
	}
	_, err := etcd.Bounded(s.client).Txn(ctx).If(ifs...).Then(thens...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("ask for permission to write %s: %w", namespaces[0], err)
	}
	return false, nil
}
