package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/gitserver/repos"
	"refship/hooks"
)

const (
	// refsEvery is the pause between two rounds over all repositories.
	refsEvery = time.Minute
	// refsTime bounds the look at one repository.
	refsTime = 30 * time.Second
)

// refWatch knows for each target whether its ref is what its chain deployed. It looks at one repository after the other,
// at all of them in each round, and at one soon after a push or deploy.
type refWatch struct {
	repos  repos.Dir
	failed prometheus.Counter // looks that found out nothing
	log    *slog.Logger
	desc   *prometheus.Desc

	unlisted string // why the last round could not list all repositories; "" if it could

	mu    sync.Mutex
	ahead map[string]map[string]float64 // by repository and target; what could not be found out stays as it was
	due   map[string]bool               // repositories to look at out of turn
	wake  chan struct{}                 // has one element if any are due
}

func newRefWatch(repos repos.Dir, failed prometheus.Counter, log *slog.Logger) *refWatch {
	return &refWatch{
		repos: repos, failed: failed, log: log,
		desc: prometheus.NewDesc("refship_ref_ahead",
			"1 where a target's ref is not what its chain deployed (ahead, behind, diverged), 0 where it is; up to a minute old.",
			[]string{"repository", "target"}, nil),
		ahead: make(map[string]map[string]float64), due: make(map[string]bool), wake: make(chan struct{}, 1),
	}
}

// Describe implements prometheus.Collector.
func (w *refWatch) Describe(out chan<- *prometheus.Desc) { out <- w.desc }

// Collect implements prometheus.Collector.
func (w *refWatch) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for repository, targets := range w.ahead {
		for target, value := range targets {
			out <- prometheus.MustNewConstMetric(w.desc, prometheus.GaugeValue, value, repository, target)
		}
	}
}

// changed has a repository looked at soon; it does not wait for that.
func (w *refWatch) changed(repository string) {
	w.mu.Lock()
	w.due[repository] = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run looks until ctx ends.
func (w *refWatch) run(ctx context.Context, hookServer *hooks.Server) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.catchUp(ctx, hookServer)
		case <-next.C:
			w.round(ctx, hookServer)
			next.Reset(refsEvery)
		}
	}
}

// catchUp looks at what is due.
func (w *refWatch) catchUp(ctx context.Context, hookServer *hooks.Server) {
	w.mu.Lock()
	due := w.due
	w.due = make(map[string]bool)
	w.mu.Unlock()
	for name := range due {
		repo, err := w.repos.Find(name)
		if err == nil {
			err = w.look(ctx, hookServer, repo)
		}
		if err != nil {
			w.note(ctx, name, err)
		}
	}
}

// round looks at all repositories, and forgets those that are gone, if it knows them all. Where etcd does not answer it ends: each look would
// wait for it.
func (w *refWatch) round(ctx context.Context, hookServer *hooks.Server) {
	repos, err := w.repos.List() // with an error, those that can be read are there
	w.noteList(ctx, err)
	if err == nil {
		w.keep(repos)
	}
	for _, repo := range repos {
		err := w.look(ctx, hookServer, repo)
		if err != nil {
			w.note(ctx, repo.Name, err)
		}
		if errors.Is(err, etcd.ErrUnreachable) || ctx.Err() != nil {
			return
		}
		w.catchUp(ctx, hookServer)
	}
}

func (w *refWatch) note(ctx context.Context, repository string, err error) {
	if ctx.Err() != nil {
		return
	}
	w.failed.Inc()
	w.log.DebugContext(ctx, "compare refs with chains", "repository", repository, "error", err)
}

// noteList tells once of each reason why repositories cannot be listed.
func (w *refWatch) noteList(ctx context.Context, err error) {
	reason := ""
	if err != nil {
		w.note(ctx, "", err)
		reason = err.Error()
	}
	if reason != "" && reason != w.unlisted && ctx.Err() == nil {
		w.log.WarnContext(ctx, "repositories cannot be listed: what refship_ref_ahead says of them stays as it was", "error", err)
	}
	w.unlisted = reason
}

// keep drops the series of repositories that are gone.
func (w *refWatch) keep(repos []*repos.Repository) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := make(map[string]map[string]float64)
	for _, repo := range repos {
		if old, ok := w.ahead[repo.Name]; ok {
			kept[repo.Name] = old
		}
	}
	w.ahead = kept
}

// look compares the refs of one repository. Its targets that are gone are forgotten.
func (w *refWatch) look(ctx context.Context, hookServer *hooks.Server, repo *repos.Repository) error {
	ctx, cancel := context.WithTimeout(ctx, refsTime)
	defer cancel()
	all, err := hookServer.Status(ctx, repo.Name, repo.Dir)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	was, now := w.ahead[repo.Name], make(map[string]float64)
	for _, status := range all {
		name := status.Target.Name
		if status.Err != nil {
			err = errors.Join(err, status.Err)
			if value, ok := was[name]; ok {
				now[name] = value
			}
			continue
		}
		now[name] = aheadValue(status)
	}
	w.ahead[repo.Name] = now
	return err
}

func aheadValue(status hooks.TargetStatus) float64 {
	if status.Standing == deploy.RelationEqual || status.Ref.IsZero() && status.State.Head == nil {
		return 0
	}
	return 1
}
