package deploy

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// keyOverhead is what a key costs in etcd's database beside its value, in bytes: the key itself (twice: in the key
// bucket's value and, with the index, in its page), revision, leases and the page's headers, rounded up.
const keyOverhead = 400

// CheckRoom refuses what etcd's quota has no room for, all of one push together, before any of it is written.
func (s *Store) CheckRoom(ctx context.Context, all []*Prepared) error {
	var need int64
	for _, p := range all {
		need += p.NewBytes + int64(p.keys)*keyOverhead
	}
	if need == 0 {
		return nil
	}
	space, err := etcd.ReadSpace(ctx, s.client)
	if err != nil {
		return fmt.Errorf("read etcd's size: %w", err)
	}
	return checkSpace(need, space)
}

// checkSpace refuses what etcd's space has no room for.
func checkSpace(need int64, space etcd.Space) error {
	if !space.NoSpace && (space.Quota == 0 || need <= space.Quota-space.Used) {
		return nil
	}
	there, alarm := text.Size(space.Used)+" are used and the quota is unknown", "" // etcd tells its quota from 3.6 on
	if space.Quota > 0 {
		free := text.Size(max(0, space.Quota-space.Used))
		quota := text.Size(space.Quota)
		there = fmt.Sprintf("%s are used and %s of the quota of %s are free", text.Size(space.Used), free, quota)
	}
	if space.NoSpace {
		alarm = "; etcd's alarm NOSPACE is on, so it takes no writes"
	}
	return &fault.Error{
		Kind:   fault.Unavailable,
		What:   fmt.Sprintf("this needs %s in etcd, where %s%s", text.Size(need), there, alarm),
		Remedy: "free space in etcd (compact, defragment, disarm the alarm) or raise its quota, then push again",
		Cause:  etcd.ErrFull,
	}
}

// IsFull tells whether err is, or is caused by, an etcd that is full: its quota is used up, or has no room for a push.
func IsFull(err error) bool { return errors.Is(err, etcd.ErrFull) }

// IsEtcd tells whether err is trouble with etcd, and not with what is to be deployed.
func IsEtcd(err error) bool {
	return errors.Is(err, etcd.ErrUnreachable) || errors.Is(err, etcd.ErrFull) || errors.Is(err, etcd.ErrDenied)
}
