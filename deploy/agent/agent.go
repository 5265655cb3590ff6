package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"refship/deploy/agent/hook"
	"refship/deploy/agent/secret"
	"refship/deploy/agent/site"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// Config is what an Agent needs.
type Config struct {
	Root string // the directory of releases; made where it is missing
	Link string // relative to Root, or absolute
	Name string // of the node: record.CheckNodeName
	Ring string // that the node is in; "": none

	// Dial connects to the chain's etcd. Each session has a connection of its own, which is closed with it.
	Dial func(context.Context) (*etcd.Client, record.Namespace, error)
	// Judge says whether a deploy's signature counts.
	Judge func(context.Context, *store.Chain, *record.Deploy) error

	// Choose gives the deploy that is to run: the wanted one, which may be the head, or an older one that others vouch for.
	// Keys below NS/Watch tell that it is to be asked again. nil: the wanted one runs.
	Choose func(ctx context.Context, chain *store.Chain, head, wanted *record.Deploy) (*record.Deploy, error)
	Watch  string // with Choose, such as "/refship/cosignature/"

	// Remedy says what to do about an error; "" if it does not know.
	Remedy func(error) string

	OneTime     bool          // end after the first success
	Period      time.Duration // the head is read again though nothing was heard
	SyncTimeout time.Duration // of one try
	MaxFailures int           // end after more failures in a row; below 0: never

	KeepReleases int           // that do not run, however old they are
	StaleTimeout time.Duration // others are removed when they have not run for so long

	NoLink     bool          // Link is a directory that is written in place
	CheckDrift time.Duration // how often what runs is compared with what was deployed; 0: never
	Repair     bool          // what has drifted is put right

	TouchFile string // "": none; relative to Root, or absolute
	ErrorFile string // the same

	AgeIdentity string // what *.age of a deploy is decrypted with: package secret; "": a key of the root's own
	AgeOptional bool   // what this key does not decrypt is left out; else the deploy is refused

	Prepare  *hook.Command // nil: none
	Exechook *hook.Command // nil: none
	Webhook  *hook.Webhook // nil: none
	Backoff  Backoff

	HTTP    net.Listener // nil: none; Run closes it
	Version string       // of the program
	Log     *slog.Logger
}

// Backoff are the pauses between two tries of a hook.
type Backoff struct{ Exechook, Webhook time.Duration }

// Agent is a node. Run may be called once.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	site    *site.Site
	metrics *metrics
	report  *reporter
	hooks   []*hook.Runner

	hookNames []string

	identity *secret.Identity
	drift    drift

	ns       record.Namespace
	nodes    *store.Nodes // of the release that was made last; nil: not known
	root     tree.Entry   // of that release
	failures int          // in a row
	broken   int          // watches in a row that ended by themselves
	refused  bool         // the last try was refused, and waits for the operator
	wants    record.ID    // what the last try was about; 0: nothing
	rings    *ringWait    // what the last try waits for; nil: the node's ring may run the head
	synced   bool         // a try has succeeded since the start
	waiting  bool         // it was told that there is no deploy yet
	toldRing record.ID    // the head that it was told of that the ring waits for
}

// New takes the root for this process, until Run ends.
func New(cfg Config) (*Agent, error) {
	open := site.Open
	if cfg.NoLink {
		open = site.OpenInPlace
	}
	s, err := open(cfg.Root, cfg.Link)
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: cfg.Log, site: s, metrics: newMetrics(cfg.Version)}
	if a.identity, err = readIdentity(cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	a.log.Info("what is encrypted for this node is decrypted", "recipients", a.identity.Recipients)
	id, err := s.ID()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	a.report = newReporter(&cfg, id)
	if cfg.Exechook != nil {
		a.addHook("exechook", cfg.Exechook.Run, cfg.Backoff.Exechook)
	}
	if cfg.Webhook != nil {
		a.addHook("webhook", cfg.Webhook.Run, cfg.Backoff.Webhook)
	}
	return a, nil
}

// ownIdentity is the file in the root that has the node's own key for age.
const ownIdentity = ".age-identity"

func readIdentity(cfg Config) (*secret.Identity, error) {
	if cfg.AgeIdentity != "" {
		return secret.Read(cfg.AgeIdentity)
	}
	return secret.ReadOrMake(filepath.Join(cfg.Root, ownIdentity))
}

func (a *Agent) addHook(name string, run func(context.Context, *hook.Release) error, backoff time.Duration) {
	done := func(r *hook.Release, err error) {
		a.metrics.hook(name, err == nil)
		a.report.hook(name, r.ID, err)
	}
	a.hookNames = append(a.hookNames, name)
	a.hooks = append(a.hooks, hook.NewRunner(name, run, backoff, done, a.log))
}

// Run follows the chain until ctx ends, which is no error, or there were too many failures: then the error is that of
// the last one. With Config.OneTime it ends after the first success, or as soon as one try has failed.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancelCause(ctx)
	if a.cfg.HTTP != nil {
		group.Go(func() error { return a.serve(ctx, a.cfg.HTTP) })
	}
	if !a.cfg.OneTime {
		for _, h := range a.hooks {
			group.Go(func() error {
				h.Run(ctx)
				return nil
			})
		}
	}
	group.Go(func() error {
		err := a.sessions(ctx)
		end(errDone)
		return err
	})
	return errors.Join(group.Wait(), a.site.Close())
}

// errDone ends what works beside the tries.
var errDone = errors.New("the agent has ended")

// The pauses after a failure: the first, and the longest after a connection or a try has failed.
const (
	firstPause       = 250 * time.Millisecond
	longestReconnect = 30 * time.Second
	longestRetry     = 5 * time.Minute
)

// pause is how long to wait after so many failures in a row: twice as long each time, and by chance half as much or
// half as much again, so that many nodes do not ask together.
func pause(failures int, longest time.Duration) time.Duration {
	d := longest
	if doubled := failures - 1; doubled < 20 {
		d = min(longest, firstPause<<max(0, doubled))
	}
	return d/2 + rand.N(d)
}

// sessions has one session after the other.
func (a *Agent) sessions(ctx context.Context) error {
	for {
		err := a.session(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return nil
		case fault.Is(err, fault.Usage): // it does not get better
			return err
		}
		if !isCounted(err) {
			a.failed(ctx, err)
		}
		if a.cfg.OneTime || a.tooMany() {
			return err
		}
		a.checkDrift(ctx)
		if !sleep(ctx, pause(a.failures, longestReconnect)) {
			return nil
		}
	}
}

// errEnough ends the sessions without an error.
var errEnough = errors.New("the release runs")

// countedError is a failure that was counted and told.
type countedError struct{ error }

// Unwrap gives the failure.
func (e countedError) Unwrap() error { return e.error }

func isCounted(err error) bool {
	var counted countedError
	return errors.As(err, &counted)
}

// session connects, and tries and waits until the connection is of no use any more.
func (a *Agent) session(ctx context.Context) error {
	client, ns, err := a.cfg.Dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	a.ns = ns
	chain := store.Open(client, ns)
	report := a.report.start(ctx, client, chain)
	err = a.follow(ctx, client, chain)
	report.end(a.cfg.OneTime || a.tooMany() || ctx.Err() != nil)
	return err
}

// follow tries to run the head, and waits for another one, until etcd fails or enough is done.
func (a *Agent) follow(ctx context.Context, client *etcd.Client, chain *store.Chain) error {
	for {
		revision, err := a.try(ctx, chain)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errUndeployed) && !a.cfg.OneTime:
			a.waits(ctx)
			err = nil
		case err != nil:
			a.failed(ctx, err)
		}
		switch {
		case a.cfg.OneTime && err == nil:
			return a.once(ctx, chain)
		case err != nil && (a.cfg.OneTime || a.tooMany() || revision == 0 || fault.Is(err, fault.Unavailable)):
			return countedError{err}
		}
		if err := a.wait(ctx, client, chain, revision); err != nil {
			return err
		}
	}
}

// waits tells once that there is nothing to run yet.
func (a *Agent) waits(ctx context.Context) {
	switch {
	case a.waiting:
	case a.rings != nil:
		a.log.InfoContext(ctx, "waiting for the ring", "namespace", a.ns, "id", a.wants, "ring", a.cfg.Ring)
	default:
		a.log.InfoContext(ctx, "waiting for the first deploy", "namespace", a.ns)
	}
	a.waiting, a.failures = true, 0
}

// failed counts and tells a failure.
func (a *Agent) failed(ctx context.Context, err error) {
	a.failures++
	a.metrics.failed()
	a.writeError(ctx, err)
	if a.cfg.OneTime {
		return // Run gives it back
	}
	attrs := []any{"failures", a.failures, "error", err}
	if remedy := a.cfg.Remedy(err); remedy != "" {
		attrs = append(attrs, "hint", remedy)
	}
	a.log.ErrorContext(ctx, "try failed", attrs...)
}

func (a *Agent) tooMany() bool { return a.cfg.MaxFailures >= 0 && a.failures > a.cfg.MaxFailures }

// sleep waits, and tells whether ctx is still open then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
