package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// roomMaker makes room in etcd for gc, and gives what gc has freed back to etcd's quota.
type roomMaker struct {
	*app
	store *deploy.Store
	may   bool // compact and defragment: an etcd elsewhere belongs to others, too
}

func newRoomMaker(a *app, store *deploy.Store, compact bool) *roomMaker {
	return &roomMaker{app: a, store: store, may: store.IsOwn() || compact}
}

// around runs gc. A full etcd takes none of gc's writes, so room is made first then. It is made anyway after gc.
func (m *roomMaker) around(ctx context.Context, gc func() error) error {
	space, err := m.store.Space(ctx)
	if err != nil {
		return err
	}
	full := space.NoSpace
	if !full {
		if err = gc(); err == nil {
			return m.after(ctx)
		}
		if full = errors.Is(err, etcd.ErrFull); !full {
			return m.afterSome(ctx, err)
		}
	}
	if !m.may {
		return notAllowed(err)
	}
	if err := m.make(ctx); err != nil {
		return err
	}
	switch err = gc(); {
	case errors.Is(err, etcd.ErrFull):
		return m.stillFull(err)
	case err != nil:
		return m.afterSome(ctx, err)
	}
	return m.after(ctx)
}

// afterSome is after, where gc has failed for a chain, and has perhaps collected others.
func (m *roomMaker) afterSome(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, etcd.ErrUnreachable) {
		return err
	}
	return errors.Join(err, m.after(ctx))
}

// after makes room after gc, or says that it is left to somebody else.
func (m *roomMaker) after(ctx context.Context) error {
	if !m.may {
		m.say("what is deleted counts for etcd's quota until it is compacted and defragmented: refship gc --compact, " +
			"or " + etcdctlRoom)
		return nil
	}
	return m.make(ctx)
}

func (m *roomMaker) make(ctx context.Context) error {
	m.say("compacting and defragmenting etcd, which answers nothing meanwhile")
	made, err := m.store.MakeRoom(ctx)
	if err != nil {
		return err
	}
	of := ""
	if made.Space.Quota > 0 {
		of = " of " + text.Size(made.Space.Quota)
	}
	m.say("etcd is %s smaller: %s%s", text.Size(made.Won), text.Size(made.Space.Used), of)
	if len(made.Missed) > 0 {
		m.warn(fmt.Errorf("no endpoint leads to %s: not defragmented; give --endpoints of all members",
			strings.Join(made.Missed, ", ")))
	}
	return nil
}

// notAllowed is the error of a full etcd that may not be compacted; cause may be nil.
func notAllowed(cause error) error {
	return &fault.Error{
		What: "etcd is full, and takes no writes, not even those of gc",
		Remedy: "make room first, which everybody notices who uses that etcd: give --compact; or its operator does it: " +
			etcdctlRoom,
		Cause: errors.Join(etcd.ErrFull, cause),
	}
}

// stillFull is the error of an etcd that was compacted and defragmented, and has no room for gc.
func (m *roomMaker) stillFull(err error) error {
	remedy := "etcd's operator raises --quota-backend-bytes a little, starts etcd again, and disarms its alarm, which " +
		"it keeps: etcdctl alarm disarm; then gc again"
	if m.store.IsOwn() {
		remedy = "start the server again, and then gc: until the next start its etcd may hold " +
			text.Size(embedded.MoreRoom) + " more, for gc alone"
	}
	return &fault.Error{What: "etcd has no room, not even for gc: " + err.Error(), Remedy: remedy, Cause: err}
}
