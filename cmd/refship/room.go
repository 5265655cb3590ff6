package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"refship/deploy"
	"refship/deploy/etcd/embedded"
	"refship/deploy/gc"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

// reclaim looks whether the embedded etcd is full, and if it is, makes room in it. If that gives too little even for
// gc, etcd starts anew, with more room that only gc may take, until the server is stopped.
func (c *serveCmd) reclaim(ctx context.Context, s *openEtcd, dir dataDir, log *slog.Logger) error {
	space, err := s.embedded.Reclaim(ctx)
	if err != nil {
		return err
	}
	if space.NoSpace {
		if err := s.embedded.Close(); err != nil {
			return err
		}
		cfg := c.embedded()
		cfg.Quota = max(cfg.Quota, space.Used) + embedded.MoreRoom
		more, err := c.open(ctx, dir, cfg, log)
		if err != nil {
			return err
		}
		more.keptFree = cfg.Quota - int64(c.EtcdQuota)
		*s = *more
	}
	used := fmt.Sprintf("etcd embedded in %s (%s of %s)", dir.etcd(), text.Size(space.Used), text.Size(int64(c.EtcdQuota)))
	s.lines = []string{used}
	if s.keptFree > 0 {
		s.lines = append(s.lines, fmt.Sprintf("warning: etcd is full: until the next start it may hold %s more, for gc alone",
			text.Size(embedded.MoreRoom)))
	}
	return nil
}

// etcdctlRoom makes room in an etcd without refship.
const etcdctlRoom = "etcdctl compact REVISION (etcdctl endpoint status -w json tells it), etcdctl defrag --cluster, " +
	"etcdctl alarm disarm"

// gaugeTime bounds how long a refusal looks for what gc would free.
const gaugeTime = 2 * time.Second

// gaugeSlack is what etcd's database may grow by beyond what is put: it writes whole pages anew.
const gaugeSlack = 8 << 20

// gauges are what gc may be asked to keep, and how; the first that gives enough is told.
var gauges = []struct {
	flags  string
	last   int
	within time.Duration
}{
	{"", gc.DefaultKeepLast, gc.DefaultKeepWithin},
	{" --keep-last 10 --keep-within 0", 10, 0},
	{" --keep-last 1 --keep-within 0", 1, 0},
}

// roomRemedy is what to do about an etcd without room, for users of this server; about is that of etcd.ReasonQuota.
func (s *server) roomRemedy(about []string) string {
	var missing int64
	if len(about) > 0 {
		missing, _ = strconv.ParseInt(about[0], 10, 64) // it is a number
	}
	ctx, cancel := context.WithTimeout(context.Background(), gaugeTime)
	defer cancel()
	flags, frees, err := s.gauge(ctx, missing)
	where, more := "", "restarts it with more room for its etcd, refship serve --etcd-quota "+s.flags.EtcdQuota.twice()
	if s.etcd.embedded == nil {
		where = " --compact with the server's --endpoints"
		more = "raises etcd's --quota-backend-bytes, starts etcd again, and disarms its alarm, which it keeps: " +
			"etcdctl alarm disarm"
	}
	what := ", which frees about " + text.Size(frees)
	switch {
	case err != nil: // it takes too long, or etcd does not answer
		flags, what = "", ""
	case frees < missing: // what compacting frees is not known
		what += ", too little unless old revisions of keys go with it"
	}
	return "the server's operator makes room, refship gc" + flags + where + what + "; or " + more + "; then push again"
}

// gauge looks how gc would free so many bytes with some to spare: with which flags, and how many. If no way frees so
// many, it is the one that frees most.
func (s *server) gauge(ctx context.Context, missing int64) (flags string, frees int64, err error) {
	if !s.gauging.TryLock() {
		return "", 0, errors.New("another refusal is looking")
	}
	defer s.gauging.Unlock()
	space, err := s.store.Space(ctx)
	if err != nil {
		return "", 0, err
	}
	listed, err := s.dir.repos().List()
	if err != nil {
		return "", 0, err
	}
	for _, way := range gauges {
		some := max(0, space.Used-space.InUse)
		for _, ns := range target.Namespaces(repos.AllTargets(listed)) {
			r, err := gc.Run(ctx, gc.Config{
				Store: s.store, KeepLast: way.last, KeepWithin: way.within, DryRun: true,
			}, ns)
			if err != nil {
				return "", 0, err
			}
			some += r.Bytes + int64(r.Keys)*deploy.KeyOverhead
		}
		if some > frees {
			flags, frees = way.flags, some
		}
		if frees >= missing+gaugeSlack {
			break
		}
	}
	return flags, frees, nil
}

// twice is twice the size, as --etcd-quota takes it.
func (q quota) twice() string {
	if q%(1<<30) == 0 {
		return fmt.Sprintf("%dGiB", 2*q>>30)
	}
	return fmt.Sprintf("%dMiB", 2*q>>20)
}
