package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/status"
)

const (
	// refsEvery is the pause between two rounds over all repositories.
	refsEvery = time.Minute
	// refsTime bounds the comparison of one repository.
	refsTime = 30 * time.Second
)

// refWatch compares each target's ref with what its chain deployed: one repository after the other, all of them in
// each round, and one soon after a push or deploy.
type refWatch struct {
	repos  repos.Dir
	hooks  *hooks.Server      // from run on
	failed prometheus.Counter // comparisons that could not be made
	log    *slog.Logger
	desc   *prometheus.Desc

	unlisted string // why the last round could not list all repositories; "" if it could

	mu    sync.Mutex
	ahead map[string]map[string]float64 // by repository and target; what could not be compared stays as it was
	odd   map[string]warnings           // by repository: what is odd about its chains
	empty map[string]warnings           // by repository: refs whose files are empty
	due   map[string]bool               // repositories to compare out of turn
	wake  chan struct{}                 // has one element if any are due
}

func newRefWatch(repos repos.Dir, failed prometheus.Counter, log *slog.Logger) *refWatch {
	return &refWatch{
		repos: repos, failed: failed, log: log,
		desc: prometheus.NewDesc("refship_ref_ahead",
			"1 where a target's ref is not what its chain deployed (ahead, behind, diverged), else 0; up to a minute old.",
			[]string{"repository", "target"}, nil),
		ahead: make(map[string]map[string]float64), odd: make(map[string]warnings),
		empty: make(map[string]warnings), due: make(map[string]bool), wake: make(chan struct{}, 1),
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

// isAhead is Monitor.IsAhead.
func (w *refWatch) isAhead(repository, target string) (ahead, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	value, known := w.ahead[repository][target]
	return value == 1, known
}

// changed has a repository compared soon. It does not wait for that.
func (w *refWatch) changed(repository string) {
	w.mu.Lock()
	w.due[repository] = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run compares until ctx ends.
func (w *refWatch) run(ctx context.Context, hookServer *hooks.Server) {
	w.hooks = hookServer
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.compareDue(ctx)
		case <-next.C:
			w.compareAll(ctx)
			next.Reset(refsEvery)
		}
	}
}

func (w *refWatch) compareDue(ctx context.Context) {
	w.mu.Lock()
	due := w.due
	w.due = make(map[string]bool)
	w.mu.Unlock()
	for name := range due {
		repo, err := w.repos.Find(name)
		if err == nil {
			err = w.compare(ctx, repo)
		}
		w.countFailure(ctx, name, err)
	}
}

// compareAll is a round. It forgets repositories that are gone, if it could list all. It ends early while etcd does
// not answer, because each comparison would wait for it.
func (w *refWatch) compareAll(ctx context.Context) {
	repos, err := w.repos.List() // with an error, those that can be read are there
	w.warnUnlisted(ctx, err)
	if err == nil {
		w.forgetOthers(repos)
	}
	for _, repo := range repos {
		w.countFailure(ctx, repo.Name, w.lookForEmpty(repo))
	}
	for _, repo := range repos {
		err := w.compare(ctx, repo)
		w.countFailure(ctx, repo.Name, err)
		if deploy.IsEtcd(err) || ctx.Err() != nil {
			return
		}
		w.compareDue(ctx)
	}
}

// countFailure takes in the result of a comparison. The end of ctx is not a failure.
func (w *refWatch) countFailure(ctx context.Context, repository string, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	w.failed.Inc()
	w.log.DebugContext(ctx, "compare refs with chains", "repository", repository, "error", err)
}

// warnUnlisted warns once of each reason why repositories cannot be listed.
func (w *refWatch) warnUnlisted(ctx context.Context, err error) {
	w.countFailure(ctx, "", err)
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if reason != "" && reason != w.unlisted && ctx.Err() == nil {
		w.log.WarnContext(ctx, "some repositories cannot be listed: refship_ref_ahead keeps their last values", "error", err)
	}
	w.unlisted = reason
}

// forgetOthers drops the series of repositories that are not listed.
func (w *refWatch) forgetOthers(listed []*repos.Repository) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept, known := make(map[string]map[string]float64), make(map[string]bool)
	for _, repo := range listed {
		known[repo.Name] = true
		if targets, ok := w.ahead[repo.Name]; ok {
			kept[repo.Name] = targets
		}
	}
	w.ahead = kept
	isGone := func(name string, _ warnings) bool { return !known[name] }
	maps.DeleteFunc(w.odd, isGone)
	maps.DeleteFunc(w.empty, isGone)
}

// probeChains tells what is odd about chains: they go on, and the operator should look.
func (w *refWatch) probeChains() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return joined(w.odd)
}

// probeRefs tells of refs whose files are empty: other repositories go on.
func (w *refWatch) probeRefs() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return joined(w.empty)
}

func joined(byRepository map[string]warnings) error {
	var all warnings
	for _, name := range slices.Sorted(maps.Keys(byRepository)) {
		all = append(all, byRepository[name]...)
	}
	if all == nil {
		return nil
	}
	return all
}

// lookForEmpty looks for refs of one repository whose files are empty.
func (w *refWatch) lookForEmpty(repo *repos.Repository) error {
	errs, err := status.EmptyRefs(repo.Dir, func(string) bool { return false })
	var found warnings
	for _, err := range errs {
		found = append(found, fmt.Errorf("%s: %w", repo.Name, withRemedy(err)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.empty[repo.Name] = found
	return err
}

// compare compares the refs of one repository, and forgets its targets that are gone.
func (w *refWatch) compare(ctx context.Context, repo *repos.Repository) error {
	ctx, cancel := context.WithTimeout(ctx, refsTime)
	defer cancel()
	all, err := w.hooks.Status(ctx, repo.Name, repo.Dir)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before, now := w.ahead[repo.Name], make(map[string]float64)
	for _, st := range all {
		name := st.Target.Name
		if st.Err == nil {
			now[name] = aheadValue(st)
			continue
		}
		if isUntrusted(st) { // whatever the ref has, no push to it is deployed
			now[name] = 1
			continue
		}
		err = errors.Join(err, st.Err)
		if value, ok := before[name]; ok {
			now[name] = value
		}
	}
	w.ahead[repo.Name], w.odd[repo.Name] = now, oddities(all)
	return err
}

func aheadValue(st status.Status) float64 {
	if st.Relation == deploy.RelationEqual || st.Ref.IsZero() && st.State.Head == nil {
		return 0
	}
	return 1
}

// isUntrusted tells whether the head of a target's chain is signed by nobody whose signature counts.
func isUntrusted(st status.Status) bool {
	reason, _ := fault.ReasonOf(st.Err)
	return reason == deploy.ReasonHeadUntrusted
}

// oddities are what is odd about the chains of a repository's targets.
func oddities(all []status.Status) (odd warnings) {
	for _, st := range all {
		if st.State != nil && st.State.Head != nil && st.State.Head.Damage != nil {
			odd = append(odd, st.State.Head.Damage)
		}
		if isUntrusted(st) {
			odd = append(odd, st.Err)
		}
		for _, line := range st.Odd(time.Now()) {
			odd = append(odd, errors.New(line))
		}
	}
	return odd
}
