package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"refship/deploy"
	"refship/gitserver/conns"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/report"
)

const (
	// httpTime bounds a request and its answer. With profiles an answer may take profileTime.
	httpTime    = 15 * time.Second
	profileTime = 5 * time.Minute
	// closeTime is how long running requests may take at the end.
	closeTime = time.Second
)

// Config is what a Monitor watches.
type Config struct {
	Listener net.Listener // of the HTTP server; Close closes it
	Profiles bool         // answer /debug/pprof, too
	Page     http.Handler // answers what no other part does; nil: there is no page
	DataDir  string       // its disk must have room
	Repos    repos.Dir
	Store    *deploy.Store
	EtcdOps  []string // the operations that EtcdRequest is told of
	Version  string   // of the program
	Revision string   // the commit that the program was built from; "": unknown
	Log      *slog.Logger
}

// Server is the git server that a Monitor watches.
type Server struct {
	Addr  net.Addr     // where it listens for SSH
	Stats func() Stats // right now
	Hooks *hooks.Server
	// Storage is nil if the disk of each repository takes what pushes bring, as far as is known.
	Storage func() error
	// Notified is what was told of targets, right now.
	Notified func() Notified
}

// Notified is what a server has told receivers of what becomes of targets, since the start.
type Notified struct {
	Waiting     int // events in queues
	Delivered   int
	Failed      int // tries
	GivenUp     int
	LastSuccess time.Time // zero: none yet
}

// Stats are what a git server counts.
type Stats struct {
	Connections   int   // that are open
	WithoutLogin  int   // of them
	Sessions      int   // commands that run
	Dropped       int   // connections without a login that were closed for another, since the start
	TurnedAway    int   // connections that were not taken, since the start
	GitMemory     int64 // that git processes may take, in bytes
	UpkeepsDone   int   // repositories that were packed anew, since the start
	UpkeepsFailed int   // repositories where that failed, since the start
	UpkeepTime    time.Duration
	StaleLocks    int // of git, that were removed, since the start
}

// Monitor is an HTTP server that answers for a git server. It is there before that server and goes after it. Report,
// Scrubbed, Collected, Run and Close of a nil Monitor do nothing.
type Monitor struct {
	listener net.Listener
	http     *http.Server
	failed   chan error // gets the error of an HTTP server that cannot go on

	health  *health
	metrics *metrics
	refs    *refWatch
}

// New makes a Monitor. Start must follow.
func New(cfg Config) *Monitor {
	m := &Monitor{
		listener: cfg.Listener, failed: make(chan error, 1),
		health: newHealth(cfg), metrics: newMetrics(cfg.EtcdOps, cfg.Version, cfg.Revision),
	}
	m.refs = newRefWatch(cfg.Repos, m.metrics.refsFailed, cfg.Log)
	m.metrics.registry.MustRegister(newSpaceCollector(&m.health.space), m.refs)
	m.http = &http.Server{
		Handler:           m.handler(cfg),
		ErrorLog:          slog.NewLogLogger(bounded{cfg.Log.Handler(), new(conns.Flood)}, slog.LevelWarn),
		ReadHeaderTimeout: httpTime, ReadTimeout: httpTime, WriteTimeout: httpTime, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	if cfg.Profiles {
		m.http.WriteTimeout = profileTime
	}
	return m
}

// bounded keeps clients from filling the log, with handshakes that fail for example.
type bounded struct {
	slog.Handler
	flood *conns.Flood
}

// Handle implements slog.Handler.
func (b bounded) Handle(ctx context.Context, r slog.Record) error {
	more, ok := b.flood.Next()
	if !ok {
		return nil
	}
	if more > 0 {
		r.Add("also_not_told", more)
	}
	return b.Handler.Handle(ctx, r)
}

// Start begins to answer. Close ends that.
func (m *Monitor) Start() {
	go func() {
		if err := m.http.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
			m.failed <- fmt.Errorf("serve HTTP: %w", err)
		}
	}()
}

// handler answers every path.
func (m *Monitor) handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	paths := []string{"/livez", "/readyz", "/metrics"}
	mux.HandleFunc("GET /livez", answer("livez", m.health.live()))
	ready := append(m.health.ready(), probe{"refs", m.refs.probeRefs}, probe{"chains", m.refs.probeChains},
		probe{"scrub", m.health.probeScrub})
	mux.HandleFunc("GET /readyz", answer("readyz", ready))
	mux.Handle("GET /metrics", m.metrics.handler(cfg.Log))
	if cfg.Profiles {
		paths = append(paths, "/debug/pprof/")
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	if cfg.Page != nil {
		mux.Handle("/", cfg.Page)
		return mux
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "nothing here; there is GET "+strings.Join(paths, ", "), http.StatusNotFound)
	})
	return mux
}

// Report takes in what became of a push or deploy.
func (m *Monitor) Report(r report.Report) {
	if m == nil {
		return
	}
	m.metrics.report(r)
	m.refs.changed(r.Repository)
}

// IsAhead tells whether a target's ref is not what its chain deployed, up to a minute late; not known: it was not
// compared yet.
func (m *Monitor) IsAhead(repository, target string) (ahead, known bool) {
	if m == nil {
		return false, false
	}
	return m.refs.isAhead(repository, target)
}

// Scrub is what a scrub of all targets found.
type Scrub struct {
	Ended    time.Time
	Keys     int // read
	Bytes    int64
	Repaired int
	Failed   int
	Warnings []error // what a person should look at, a line each
}

// Scrubbed takes in the end of a scrub.
func (m *Monitor) Scrubbed(s Scrub) {
	if m == nil {
		return
	}
	m.metrics.scrub(s)
	m.health.scrubbed.Store(&s)
}

// GC is what a gc of all targets did.
type GC struct {
	Ended   time.Time
	Deploys int // that lost content
	Keys    int // deleted
	Bytes   int64
	Won     int64 // bytes by which the embedded etcd's database became smaller
	Failed  int   // targets, and defragmentations
}

// Collected takes in the end of gc.
func (m *Monitor) Collected(g GC) {
	if m != nil {
		m.metrics.gc(g)
	}
}

// Run watches a server that serves from now on, until ctx ends. Its error is that of an HTTP server that cannot go
// on.
func (m *Monitor) Run(ctx context.Context, server Server) error {
	if m == nil {
		return nil
	}
	m.metrics.watch(server.Stats)
	if server.Notified != nil {
		m.metrics.watchNotified(server.Notified)
	}
	m.health.server.Store(&server)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		m.refs.run(ctx, server.Hooks)
		return nil
	})
	group.Go(func() error {
		select {
		case err := <-m.failed:
			return err
		case <-ctx.Done():
			m.health.stopping.Store(true)
			return nil
		}
	})
	return group.Wait()
}

// Close ends the HTTP server.
func (m *Monitor) Close() error {
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := m.http.Shutdown(ctx); err != nil {
		return m.http.Close() // breaks off a profile, for example
	}
	return nil
}
