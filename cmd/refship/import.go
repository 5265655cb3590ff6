package main

import (
	"context"
	"fmt"
	"time"

	"refship/deploy"
	"refship/deploy/bundle"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/verify"
	"refship/hooks/intent"
)

type importCmd struct {
	storeFlags
	signersFlag
	File string `arg:"" help:"The bundle, as refship export has made it."`
}

func (*importCmd) Help() string {
	return "Verifies the bundle, and puts its chain into the namespace of the same name, which must be empty. The copy " +
		"verifies as the same chain. An import that was cut off leaves the chain on hold; give the same bundle again."
}

// importWait is how long the chain's lock is waited for.
const importWait = 30 * time.Second

// Run imports the bundle.
func (c *importCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	file, err := bundle.Open(c.File)
	if err != nil {
		return err
	}
	defer closeInto(&err, file)
	if err := c.verify(ctx, a, file); err != nil {
		return err
	}
	log := quietLog(a)
	client, err := c.connect(ctx, a, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	s := newStore(client, nil, log)
	defer func() { _ = releaseLocks(s) }()
	who, err := holderOf(a, "", "")
	if err != nil {
		return err
	}
	ns := file.Header.Namespace
	lock, err := lockForImport(ctx, s.Chain(ns), who)
	if err != nil {
		return err
	}
	log.DebugContext(ctx, "step", "at", "import-locked")
	bar := newProgressBar(a.stderr, a.now)
	there, err := file.Import(ctx, bundle.Target{
		Client: client, Held: lock.Held(), Who: record.Hold{User: who.User, Host: who.Host, Since: a.now().UTC()},
		Room: func(bytes int64) error { return hasRoom(ctx, s, bytes) },
		Progress: func(p text.Progress) {
			log.DebugContext(ctx, "step", "at", "import-put")
			bar.update(p)
		},
	})
	bar.clear()
	if err != nil {
		return err
	}
	if there {
		a.say("%s has all of it already, up to deploy %d", ns, file.Header.Head)
		return nil
	}
	a.say("%s has deploy %d, %s, and those below; %s put", ns, file.Header.Head,
		text.Printable(file.Header.Hash.Short()), text.Size(file.Bytes()))
	return nil
}

// lockForImport takes the chain's lock. That of an import on this machine which was killed is no one's any more.
func lockForImport(ctx context.Context, chain *deploy.Chain, who record.Holder) (*deploy.Lock, error) {
	return chain.Lock(ctx, who, importWait, func(holder record.Holder, _ time.Duration) {
		if intent.ProcessLife(holder.Process) == intent.Ended {
			_, _ = chain.BreakDeadLock(ctx, func(is record.Holder) bool { return is.Process == holder.Process })
		} // if it cannot be removed, it ends with its lease
	})
}

// verify verifies a bundle before anything of it is put into an etcd.
func (c *importCmd) verify(ctx context.Context, a *app, file *bundle.File) error {
	flags := chainFlags{storeFlags: c.storeFlags, signersFlag: c.signersFlag}
	allowed, err := flags.allowed(a)
	if err != nil {
		return err
	}
	bar := newProgressBar(a.stderr, a.now)
	result, err := verify.Run(ctx, verify.Config{Chain: file.Chain(), Allowed: allowed, Progress: bar.update})
	bar.clear()
	if err == nil {
		err = damage(file.Header.Namespace, result)
	}
	switch {
	case err != nil:
		return fmt.Errorf("nothing was imported: %w", err)
	case result.Head == nil || result.Head.ID != file.Header.Head:
		return fault.Newf(fault.Corrupt, "nothing was imported: %s names deploy %d as the head, and has another",
			text.Printable(c.File), file.Header.Head)
	}
	return nil
}

// hasRoom refuses what does not fit into etcd, where etcd says how much that is.
func hasRoom(ctx context.Context, s *deploy.Store, bytes int64) error {
	space, err := s.Space(ctx)
	if err != nil || space.Quota == 0 {
		return err
	}
	if left := space.Quota - space.Used; bytes > left {
		return &fault.Error{
			What:  fmt.Sprintf("etcd has no room: %s are to be put, and %s are free", text.Size(bytes), text.Size(max(0, left))),
			Cause: etcd.ErrFull,
		}
	}
	return nil
}
