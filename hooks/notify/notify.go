package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"refship/deploy"
	"refship/deploy/text"
	"refship/hooks/report"
	"refship/hooks/target"
)

const (
	// listEvery is how often it is looked which targets there are.
	listEvery = 10 * time.Second
	// sendTogether is how many requests run at once.
	sendTogether = 16
	// refusalTime is how long a push that was refused waits until that is on disk, and lookFirstTime how much of it is
	// for looking at etcd, which may be why the push was refused.
	refusalTime, lookFirstTime = time.Second, 400 * time.Millisecond
)

// Config is what a Notifier needs.
type Config struct {
	Store  *deploy.Store
	Places func() ([]Place, error) // all targets; with an error, those that can be read
	Agent  string                  // for the header User-Agent: "refship/1.0"
	Log    *slog.Logger
}

// Stats are what a Notifier has done since it was made.
type Stats struct {
	Waiting     int // events in queues, each receiver's for itself
	Delivered   int
	Failed      int // tries
	GivenUp     int
	LastSuccess time.Time // zero: none yet
}

// Notifier tells receivers what becomes of targets.
type Notifier struct {
	cfg     Config
	clock   clock
	sending *semaphore.Weighted
	wake    chan struct{}

	mu        sync.Mutex
	stats     Stats
	queues    map[string]*queue // by directory
	followers map[string]*follower
}

// New makes a Notifier. Events are queued from now on, and sent by Run.
func New(cfg Config) *Notifier {
	return &Notifier{
		cfg: cfg, clock: realClock(), sending: semaphore.NewWeighted(sendTogether), wake: make(chan struct{}, 1),
		queues: make(map[string]*queue), followers: make(map[string]*follower),
	}
}

// Poke has it look soon which targets there are.
func (n *Notifier) Poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Run follows chains and sends until ctx ends.
func (n *Notifier) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := time.NewTicker(listEvery)
	defer next.Stop()
	failed := false
	for {
		places, err := n.cfg.Places()
		if err != nil && !failed {
			n.cfg.Log.WarnContext(ctx, "notify: some repositories cannot be read", "error", err)
		}
		failed = err != nil
		n.follow(ctx, &all, places, failed)
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		case <-next.C:
		}
	}
}

// follow follows these targets and no others. partly: others may be there, and those that are known go on.
func (n *Notifier) follow(ctx context.Context, all *sync.WaitGroup, places []Place, partly bool) {
	known := map[string]bool{}
	for _, at := range places {
		name := at.dir()
		if at.Target.Notify == "" {
			continue
		}
		known[name] = true
		if f := n.followers[name]; f != nil { // only this goroutine changes the map
			if f.at == at {
				continue
			}
			f.end()
		}
		f, err := n.newFollower(at)
		if err != nil {
			n.cfg.Log.WarnContext(ctx, "notify: no receiver is told", "repository", at.Repository, "target", at.Target.Name,
				"error", err)
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		f.stop, f.done = stop, make(chan struct{})
		n.mu.Lock()
		n.followers[name] = f
		n.mu.Unlock()
		all.Go(func() {
			defer close(f.done)
			f.run(ctx)
		})
	}
	for name, f := range n.followers {
		if !known[name] && !partly {
			f.end()
			n.forget(name)
		}
	}
}

// forget forgets the follower and the queues of a target that tells nobody any more.
func (n *Notifier) forget(dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.followers, dir)
	for name := range n.queues {
		if filepath.Dir(name) == dir {
			delete(n.queues, name)
		}
	}
}

// queue gives the queue of a receiver, which all of this process share.
func (n *Notifier) queue(at Place, to target.Receiver) *queue {
	q := newQueue(at, to)
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.queues[q.dir]; known != nil {
		return known
	}
	n.queues[q.dir] = q
	return q
}

// add puts an event into the queue of each receiver of its target.
func (n *Notifier) add(ctx context.Context, at Place, e *Event, must bool) error {
	receivers, err := at.Target.Notify.Receivers()
	if err != nil {
		return err
	}
	body, err := e.encode()
	if err != nil {
		return err
	}
	var failed error
	for _, to := range receivers {
		givenUp, err := n.queue(at, to).add(e.ID, body, n.clock.now(), must)
		n.givenUp(ctx, n.log(at, to), "the queue is full", givenUp...)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("queue for %s: %w", to, err))
		}
	}
	return failed
}

func (n *Notifier) log(at Place, to target.Receiver) *slog.Logger {
	return n.cfg.Log.With("repository", at.Repository, "target", at.Target.Name, "to", to.String())
}

// Refused tells of a push that was refused or is not deployed. It waits until that is queued, and no longer than a
// second: a disk that takes nothing is in nobody's way.
func (n *Notifier) Refused(ctx context.Context, r *report.Refusal) {
	var told []target.Target
	for _, t := range r.Targets {
		if t.Notify != "" {
			told = append(told, t)
		}
	}
	if len(told) == 0 {
		return
	}
	queued := make(chan struct{})
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer close(queued)
		looking, stop := context.WithTimeout(ctx, lookFirstTime)
		defer stop()
		for _, t := range told {
			at := Place{r.Repository, r.GitDir, t}
			e := refused(at, r)
			n.lookFirst(looking, at)
			if err := n.add(ctx, at, e, false); err != nil {
				n.cfg.Log.WarnContext(ctx, "notify: a refused push is not told", "repository", at.Repository, "target", t.Name,
					"error", err)
			}
		}
		n.Poke()
	}()
	select {
	case <-queued:
	case <-time.After(refusalTime):
		n.cfg.Log.WarnContext(ctx, "notify: this takes long: a refused push may not be told", "repository", r.Repository)
	}
}

// lookFirst queues what became of a target before, so that what comes now is told after it. Where that is not done when
// ctx ends, the order is not kept.
func (n *Notifier) lookFirst(ctx context.Context, at Place) {
	n.mu.Lock()
	f := n.followers[at.dir()]
	n.mu.Unlock()
	if f == nil || f.at != at {
		return
	}
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		_, _ = f.look(ctx) // run tells of the error
	}()
	select {
	case <-looked:
	case <-ctx.Done(): // another look may be waiting for etcd
	}
}

func (n *Notifier) givenUp(ctx context.Context, log *slog.Logger, why string, names ...string) {
	if len(names) == 0 {
		return
	}
	n.count(func(s *Stats) { s.GivenUp += len(names) })
	log.ErrorContext(ctx, "notify: given up", "deliveries", text.First(maxListed, names), "reason", why)
}

func (n *Notifier) count(change func(*Stats)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.stats)
}

// Stats gives what it has done so far.
func (n *Notifier) Stats() Stats {
	n.mu.Lock()
	s, queues := n.stats, slices.Collect(maps.Values(n.queues))
	n.mu.Unlock()
	for _, q := range queues {
		all, _ := q.list() // one that cannot be read is warned of where it is used
		s.Waiting += len(all)
	}
	return s
}
