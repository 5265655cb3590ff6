package main

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

	"refship/deploy/etcd"
	"refship/gitserver"
	"refship/hooks"
)

const (
	// httpTime bounds a request and its answer; profileTime an answer that takes a profile's time.
	httpTime    = 15 * time.Second
	profileTime = 5 * time.Minute
	// httpGoodbye is how long running requests may take at the end.
	httpGoodbye = time.Second
)

// monitor is what `serve --http` shows: whether the server lives, whether it is ready, and its metrics. It is there
// before the server is and goes after it. A nil monitor shows nothing.
type monitor struct {
	health   *health
	metrics  *metrics
	refs     *refWatch
	server   *http.Server
	addr     net.Addr
	profiles bool
	failed   chan error // gets the error of a server that cannot go on
}

// openMonitor starts the HTTP server of --http, nil if there is none; etcd's client tells it of each request from now on.
func (s *server) openMonitor(ctx context.Context) (*monitor, error) {
	if s.flags.HTTP == "" {
		return nil, nil
	}
	listener, err := listen(ctx, "--http", s.flags.HTTP)
	if err != nil {
		return nil, err
	}
	m := &monitor{
		metrics: newMetrics(), addr: listener.Addr(), profiles: s.flags.HTTPProfiles, failed: make(chan error, 1),
	}
	s.store.client.KV = etcd.Observed(s.store.client.KV, m.metrics.request)
	s.store.client.Lease = etcd.ObservedLease(s.store.client.Lease, m.metrics.request)
	m.health = newHealth(s.dir, s.store.client)
	m.refs = newRefWatch(s.dir.repos(), m.metrics.statusFailed, s.log)
	m.metrics.registry.MustRegister(newSpaceCollector(&m.health.space), m.refs)
	m.server = &http.Server{
		Handler:           m.handler(s.log),
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: httpTime, ReadTimeout: httpTime, WriteTimeout: httpTime, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	if m.profiles {
		m.server.WriteTimeout = profileTime
	}
	go func() {
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			m.failed <- fmt.Errorf("serve HTTP: %w", err)
		}
	}()
	return m, nil
}

// handler is all there is at the address.
func (m *monitor) handler(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	paths := []string{"/livez", "/readyz", "/metrics"}
	mux.HandleFunc("GET /livez", probe("livez", m.health.live()))
	mux.HandleFunc("GET /readyz", probe("readyz", m.health.ready()))
	mux.Handle("GET /metrics", m.metrics.handler(log))
	if m.profiles {
		paths = append(paths, "/debug/pprof/")
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "nothing here; there is GET "+strings.Join(paths, ", "), http.StatusNotFound)
	})
	return mux
}

// lines are what to tell the operator.
func (m *monitor) lines() []string {
	if m == nil {
		return nil
	}
	lines := []string{"http on http://" + m.addr.String()}
	if m.profiles {
		lines = append(lines, "warning: /debug/pprof shows the inside of this process, its memory included, to everybody who reaches "+m.addr.String())
	}
	return lines
}

// observe is what the hooks tell of each push and deploy; nil where nobody listens.
func (m *monitor) observe() func(hooks.Report) {
	if m == nil {
		return nil
	}
	return func(r hooks.Report) {
		m.metrics.report(r)
		m.refs.changed(r.Repository)
	}
}

// watch compares the repositories' refs with their chains until ctx ends.
func (m *monitor) watch(ctx context.Context, hookServer *hooks.Server) {
	if m != nil {
		m.refs.run(ctx, hookServer)
	}
}

// serving says that the SSH server listens at addr.
func (m *monitor) serving(git *gitserver.Server, addr net.Addr) {
	if m != nil {
		m.metrics.watchServer(git)
		m.health.serving(addr)
	}
}

// stopping says that the server takes no new pushes.
func (m *monitor) stopping() {
	if m != nil {
		m.health.stopping()
	}
}

// broken gives the error of an HTTP server that cannot go on.
func (m *monitor) broken() <-chan error {
	if m == nil {
		return nil
	}
	return m.failed
}

// Close ends the HTTP server.
func (m *monitor) Close() error {
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpGoodbye)
	defer cancel()
	if err := m.server.Shutdown(ctx); err != nil {
		return m.server.Close() // a profile, for example, is broken off
	}
	return nil
}
