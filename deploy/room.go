package deploy

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
)

// keyOverhead is what a key costs in etcd's database beside its value, in bytes: the key itself (twice: in the key
// bucket's value and, with the index, in its page), revision, leases and the page's headers, rounded up.
const keyOverhead = 400

// CheckRoom refuses what etcd's quota has no room for, all of one push together, before any of it is written.
func CheckRoom(ctx context.Context, client *clientv3.Client, all []*Prepared) error {
	var need int64
	for _, p := range all {
		need += p.NewBytes + int64(p.keys)*keyOverhead
	}
	if need == 0 {
		return nil
	}
	space, err := etcd.ReadSpace(ctx, client)
	if err != nil {
		return fmt.Errorf("read etcd's size: %w", err)
	}
	free := space.Quota - space.Used
	if !space.NoSpace && (space.Quota == 0 || need <= free) {
		return nil
	}
	what := fmt.Sprintf("this needs %s in etcd and %s of its quota of %s are free", Bytes(need), Bytes(max(free, 0)), Bytes(space.Quota))
	if space.NoSpace {
		what = "etcd's alarm NOSPACE is on: it takes no writes"
	}
	return &roomError{&RefusedError{What: what, Remedy: "free space in etcd (compact, defragment, disarm the alarm) or raise its quota, then push again"}}
}

// roomError is a refusal that etcd's fullness caused.
type roomError struct{ *RefusedError }

func (e *roomError) Unwrap() []error { return []error{e.RefusedError, etcd.ErrFull} }
