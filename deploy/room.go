package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// KeyOverhead is what a key costs in etcd's database beside its value, in bytes: the key itself (twice: in the key
// bucket's value and, with the index, in its page), revision, leases and the page's headers, rounded up.
const KeyOverhead = 400

// need is how much of etcd's space the deploy takes, but for its record, in bytes.
func (p *Prepared) need() int64 { return p.NewBytes + int64(p.Keys)*KeyOverhead }

// TakeRoom refuses what etcd's quota or its disk has no room for, all of one push together, and what would take a
// namespace beyond its limit, before any of it is written. Where it is not known yet what etcd lacks, and all of it
// would be too much, that is found out. Nobody else gets the room on the disk until give is called: when all is
// uploaded, or will not be.
func (s *Store) TakeRoom(ctx context.Context, all []*Prepared) (give func(), err error) {
	give, err = s.takeRoom(ctx, all)
	if reason, _ := fault.ReasonOf(err); !IsFull(err) && reason != ReasonMaxStored {
		return give, err
	}
	isExact := true
	for _, p := range all {
		isExact = isExact && !p.AtMost
	}
	if isExact {
		return nil, err
	}
	if space, spaceErr := s.Space(ctx); spaceErr != nil || space.NoSpace { // which has no room for anything
		return nil, err
	}
	for _, p := range all {
		if err := p.settle(ctx); err != nil {
			return nil, err
		}
	}
	return s.takeRoom(ctx, all)
}

// settle finds out what etcd lacks, if that is not known.
func (p *Prepared) settle(ctx context.Context) error {
	if !p.AtMost {
		return nil
	}
	if err := p.plan.Settle(ctx); err != nil {
		return p.job.explain(err)
	}
	p.Summary = p.plan.Summary
	return nil
}

func (s *Store) takeRoom(ctx context.Context, all []*Prepared) (give func(), err error) {
	share := s.cfg.Room.Share(s.cfg.EtcdDir)
	if len(all) == 0 {
		return share.GiveBack, nil
	}
	var need int64
	for _, p := range all {
		need += p.need()
	}
	if s.cfg.EtcdDir != "" {
		err = takeDisk(share, need)
	}
	if err == nil && need > 0 {
		err = s.checkRoom(ctx, all, need)
	}
	if err != nil {
		share.GiveBack()
		return nil, err
	}
	return share.GiveBack, nil
}

// checkRoom is about etcd's quota, and the namespaces' limits.
func (s *Store) checkRoom(ctx context.Context, all []*Prepared, need int64) error {
	space, err := s.Space(ctx)
	if err != nil {
		return fmt.Errorf("read etcd's size: %w", err)
	}
	if err := checkSpace(need, space); err != nil {
		return err
	}
	for _, p := range all {
		if err := p.checkLimit(ctx, space.Quota); err != nil {
			return err
		}
	}
	return nil
}

// logRoom is what is kept free on etcd's disk for the files of its log.
const logRoom = 2 * etcd.LogFile

// takeDisk refuses what the disk of an etcd on this machine has no room for: etcd that meets a full disk ends. It
// stores everything twice, in its log and in its database, and takes the room for a file of its log at once. A push's
// pack is on the disk by now.
func takeDisk(share *disk.Share, need int64) error {
	err := share.Take(2 * need)
	var full *disk.FullError
	switch {
	case errors.As(err, &full):
		return &fault.Error{
			Kind: fault.Unavailable,
			What: fmt.Sprintf("this needs %s on the disk of the server's etcd, where %s", text.Size(full.Need),
				text.Free(full.Free, full.Taken)),
			Remedy: "the server's operator must free some space on its disk; then push again",
			Cause:  etcd.ErrFull,
		}
	case err != nil:
		return fmt.Errorf("look at etcd's disk: %w", disk.WithoutDir(err))
	}
	return nil
}

// checkSpace refuses what etcd's space has no room for.
func checkSpace(need int64, space etcd.Space) error {
	if !space.NoSpace && (space.Quota == 0 || need <= space.Quota-space.Used) {
		return nil
	}
	missing := need
	there, alarm := text.Size(space.Used)+" are used and the quota is unknown", "" // etcd tells its quota from 3.6 on
	if space.Quota > 0 {
		missing = need - (space.Quota - space.Used)
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
		Reason: etcd.ReasonQuota,
		About:  []string{strconv.FormatInt(missing, 10)},
		Cause:  etcd.ErrFull,
	}
}

// IsFull tells whether err is, or is caused by, an etcd that is full: its quota is used up, or has no room for a push.
func IsFull(err error) bool { return errors.Is(err, etcd.ErrFull) }

// IsEtcd tells whether err is trouble with etcd, and not with what is to be deployed.
func IsEtcd(err error) bool {
	return errors.Is(err, etcd.ErrUnreachable) || errors.Is(err, etcd.ErrFull) || errors.Is(err, etcd.ErrDenied)
}
