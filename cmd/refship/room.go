package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/gc"
	"refship/deploy/record"
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

// gaugeTime bounds how long a refusal looks for what gc would free; gaugeTicks is in how many parts it is counted.
const (
	gaugeTime  = 5 * time.Second
	gaugeTicks = 25
)

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

// roomHint words what to do about an etcd without room, for those who were refused.
type roomHint struct {
	store *deploy.Store
	lead  string // says who makes room; the command comes next
	more  string // what else helps
	// chains gives those that gc is to collect, and its flags for that, these also with an error.
	chains func(context.Context) (flags string, all []record.Namespace, err error)
	one    sync.Mutex // held while it is looked for what gc would free
}

// remedyOf is the remedy for an error whose reason is etcd.ReasonQuota, "" for others.
func (h *roomHint) remedyOf(err error) string {
	reason, about := fault.ReasonOf(err)
	if reason != etcd.ReasonQuota {
		return ""
	}
	var missing int64
	if len(about) > 0 {
		missing, _ = strconv.ParseInt(about[0], 10, 64) // it is a number
	}
	ctx, end := whileGauging()
	defer end()
	where, chains, err := h.chains(ctx)
	flags, frees := "", int64(0)
	if err == nil {
		flags, frees, err = h.gauge(ctx, chains, missing)
	}
	what := ", which frees about " + text.Size(frees)
	switch {
	case err != nil: // it takes too long, or etcd does not answer
		flags, what = "", ""
	case frees < missing: // what compacting frees is not known
		what += ", too little unless old revisions of keys go with it"
	}
	return h.lead + "refship gc" + flags + where + what + "; or " + h.more
}

// whileGauging gives a context that ends after gaugeTime. A time in which the machine stood still counts as a tick.
func whileGauging() (ctx context.Context, end func()) {
	ctx, end = context.WithCancel(context.Background())
	go func() {
		defer end()
		tick := time.NewTicker(gaugeTime / gaugeTicks)
		defer tick.Stop()
		for range gaugeTicks {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, end
}

// explain gives an error that is about room its remedy: the caller is about to close the store.
func (h *roomHint) explain(err error) error {
	if remedy := h.remedyOf(err); remedy != "" {
		return &fault.Error{What: err.Error(), Remedy: remedy, Cause: err}
	}
	return err
}

// gauge looks how gc would free so many bytes with some to spare: with which flags, and how many. If no way frees so
// many, it is the one that frees most.
func (h *roomHint) gauge(
	ctx context.Context, chains []record.Namespace, missing int64,
) (flags string, frees int64, err error) {
	if !h.one.TryLock() {
		return "", 0, errors.New("another refusal is looking")
	}
	defer h.one.Unlock()
	space, err := h.store.Space(ctx)
	if err != nil {
		return "", 0, err
	}
	for _, way := range gauges {
		some := max(0, space.Used-space.InUse)
		for _, ns := range chains {
			r, err := gc.Run(ctx, gc.Config{
				Store: h.store, KeepLast: way.last, KeepWithin: way.within, DryRun: true,
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

// raisedQuota is what else helps the operator of an etcd elsewhere.
const raisedQuota = "raise etcd's --quota-backend-bytes, start etcd again, and disarm its alarm, which it keeps: " +
	"etcdctl alarm disarm"

// roomHint is for users of this server.
func (s *server) roomHint() *roomHint {
	where, more := "", "restarts it with more room for its etcd, refship serve --etcd-quota "+s.flags.EtcdQuota.twice()
	if s.etcd.embedded == nil {
		where = " --compact with the server's --endpoints"
		more = "raises etcd's --quota-backend-bytes, starts etcd again, and disarms its alarm, which it keeps: " +
			"etcdctl alarm disarm"
	}
	return &roomHint{
		store: s.store, lead: "the server's operator makes room, ", more: more + "; then push again",
		chains: func(context.Context) (string, []record.Namespace, error) {
			all, err := s.dir.chains()
			return where, all, err
		},
	}
}

// hookRoomHint is for users of a repository with installed hooks.
func hookRoomHint(store *deploy.Store, gitDir string) *roomHint {
	return &roomHint{
		store: store, lead: "for the operator of this repository: make room, ", more: raisedQuota + "; then push again",
		chains: func(context.Context) (string, []record.Namespace, error) {
			targets, err := target.ReadTargets(gitDir)
			return " --repo " + text.Quote(gitDir) + " --compact", target.Namespaces(targets), err
		},
	}
}

// roomHint is for users of a command that changes a chain. again says what to do then.
func (f *storeFlags) roomHint(a *app, store *deploy.Store, src *source, again string) *roomHint {
	h := &roomHint{store: store, lead: "make room, ", more: raisedQuota + "; " + again}
	one := []record.Namespace{src.target.Namespace}
	named := " --namespace " + text.Quote(string(one[0]))
	switch {
	case len(f.Endpoints) > 0:
		h.chains = func(context.Context) (string, []record.Namespace, error) {
			return named + " --compact with the same --endpoints", one, nil
		}
	case len(src.settings.Endpoints) > 0:
		h.chains = func(context.Context) (string, []record.Namespace, error) {
			return " --repo " + text.Quote(src.gitDir) + " --target " + text.Quote(src.target.Name) + " --compact", one, nil
		}
	default: // that of the server on the data directory
		h.more = "start the server again with more room for its etcd, refship serve --etcd-quota SIZE; " + again
		given := ""
		if f.DataDir != "" {
			given = " --data-dir " + text.Quote(f.DataDir)
		}
		h.chains = func(ctx context.Context) (string, []record.Namespace, error) {
			dir, err := f.dir(a)
			if err != nil {
				return given, nil, err
			}
			all, err := dir.chains()
			if err != nil || slices.Contains(all, one[0]) {
				return given, all, err
			}
			state, err := store.Chain(one[0]).State(ctx)
			if err == nil && state.Head == nil && len(all) > 0 { // gc does not know it
				return given, all, nil
			}
			return named + given, one, err
		}
	}
	return h
}

// chains are the namespaces of all targets of the data directory.
func (d dataDir) chains() ([]record.Namespace, error) {
	listed, err := d.repos().List()
	return target.Namespaces(repos.AllTargets(listed)), err
}

// twice is twice the size, as --etcd-quota takes it.
func (q quota) twice() string {
	if q%(1<<30) == 0 {
		return fmt.Sprintf("%dGiB", 2*q>>30)
	}
	return fmt.Sprintf("%dMiB", 2*q>>20)
}
