package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"refship/deploy/record"
)

// metrics are what /metrics shows. Those that begin with git_sync have git-sync's names and meanings.
type metrics struct {
	registry  *prometheus.Registry
	duration  *prometheus.SummaryVec // by status
	count     *prometheus.CounterVec // by status
	hooks     *prometheus.CounterVec // by name and status
	success   prometheus.Gauge
	wanted    prometheus.Gauge
	running   prometheus.Gauge
	delay     prometheus.Gauge
	failures  prometheus.Gauge
	differ    prometheus.Gauge
	repairs   prometheus.Counter
	mu        sync.Mutex
	published time.Time // when the head was published that does not run yet; zero: it runs
	synced    bool      // a release runs
}

func newMetrics(version string) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	auto := promauto.With(registry)
	gauge := func(name, help string) prometheus.Gauge {
		return auto.NewGauge(prometheus.GaugeOpts{Namespace: "refship", Subsystem: "agent", Name: name, Help: help})
	}
	m := &metrics{
		registry: registry,
		duration: auto.NewSummaryVec(prometheus.SummaryOpts{
			Name: "git_sync_duration_seconds", Help: "How long tries took, by status.",
		}, []string{"status"}),
		count: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "git_sync_count_total", Help: "Tries, by status: success (another release runs), error, noop.",
		}, []string{"status"}),
		hooks: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "git_sync_hook_run_count_total", Help: "Runs of hooks, by name and status: success, error.",
		}, []string{"name", "status"}),
		success:  gauge("last_success_timestamp_seconds", "When the head was last seen to run, in Unix time; 0: never."),
		wanted:   gauge("head_id", "The number of the head that was read last; 0: none was."),
		running:  gauge("running_id", "The number of the deploy that runs; 0: none is known to."),
		delay:    gauge("switch_delay_seconds", "The time from the last switch's record to the switch."),
		failures: gauge("failures", "Failures in a row."),
		differ: gauge("drifted_paths",
			"How many paths of what runs were not as deployed when it was last looked at; 0: none, or nobody looked."),
		repairs: auto.NewCounter(prometheus.CounterOpts{
			Namespace: "refship", Subsystem: "agent", Name: "repairs_total", Help: "How often what had drifted was put right.",
		}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "refship", Subsystem: "agent", Name: "lag_seconds",
		Help: "For how long the head has been published that does not run yet; 0: it runs.",
	}, m.lag)
	for _, status := range []string{"success", "error", "noop"} {
		m.count.WithLabelValues(status)
	}
	auto.NewGauge(prometheus.GaugeOpts{
		Namespace: "refship", Name: "build_info", Help: "What this program was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": version},
	}).Set(1)
	return m
}

func (m *metrics) lag() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.published.IsZero() {
		return 0
	}
	return max(0, time.Since(m.published).Seconds())
}

// tried counts the end of a try.
func (m *metrics) tried(start time.Time, switched bool, err error) {
	status := "noop"
	switch {
	case err != nil:
		status = "error"
	case switched:
		status = "success"
	}
	m.count.WithLabelValues(status).Inc()
	m.duration.WithLabelValues(status).Observe(time.Since(start).Seconds())
}

// failed counts a failure, of a try or of a connection.
func (m *metrics) failed() { m.failures.Inc() }

// wants takes in the head.
func (m *metrics) wants(head *record.Deploy) {
	m.wanted.Set(float64(head.ID))
	m.mu.Lock()
	defer m.mu.Unlock()
	if head.Record != nil {
		m.published = head.Record.Time
	}
}

// runs takes in that the head runs.
func (m *metrics) runs(head *record.Deploy, switched bool) {
	m.running.Set(float64(head.ID))
	m.success.SetToCurrentTime()
	m.failures.Set(0)
	if switched {
		m.differ.Set(0)
	}
	if switched && head.Record != nil {
		m.delay.Set(max(0, time.Since(head.Record.Time).Seconds()))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.published, m.synced = time.Time{}, true
}

// drifted takes in a look at what runs.
func (m *metrics) drifted(f *finding) { m.differ.Set(float64(len(f.differences))) }

// repaired counts that what had drifted was put right.
func (m *metrics) repaired() { m.repairs.Inc() }

func (m *metrics) hook(name string, ok bool) {
	status := "error"
	if ok {
		status = "success"
	}
	m.hooks.WithLabelValues(name, status).Inc()
}

func (m *metrics) isSynced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced
}

const (
	// httpTime bounds a request and its answer.
	httpTime = 15 * time.Second
	// closeTime is how long running requests may take at the end.
	closeTime = time.Second
)

// serve answers HTTP until ctx ends: / is 503 until a release runs, and 200 from then on.
func (a *Agent) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		if !a.metrics.isSynced() {
			http.Error(w, "no release runs yet", http.StatusServiceUnavailable)
		}
	})
	errorLog := slog.NewLogLogger(a.log.Handler(), slog.LevelError)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{
		ErrorLog: errorLog, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: httpTime,
	}))
	server := &http.Server{
		Handler: mux, ReadTimeout: httpTime, WriteTimeout: 2 * httpTime, IdleTimeout: time.Minute, ErrorLog: errorLog,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := server.Shutdown(closing); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}
