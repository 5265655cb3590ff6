package main

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/gitserver"
	"refship/hooks"
)

// Results that hooks tells, in the words of its log lines.
const (
	saysRefused     = "refused"
	saysNothing     = "nothing"      // there was nothing to push
	saysNotDeployed = "not deployed" // it ought to have been published
)

// pushResults are the results of pushes that have a series of their own, in the words of the log.
var pushResults = [...]string{
	"deployed", "already deployed", "unchanged", "skipped", "stored", saysRefused, "dry-run", saysNotDeployed, "not moved", saysNothing,
}

// otherLabel counts what has no series of its own, so that there are never more series than these.
const otherLabel = "other"

// The results of deploys. A push that is refused counts as a push.
const (
	resultPublished = "published"
	resultFailed    = "failed"
	resultRefused   = "refused"
)

// metrics are what /metrics shows of the server itself. The names keep to https://prometheus.io/docs/practices/naming/.
type metrics struct {
	registry *prometheus.Registry

	pushes       *prometheus.CounterVec // by result
	deploys      *prometheus.CounterVec // by kind and result
	pushTime     prometheus.Histogram
	lockTime     prometheus.Histogram
	stored       prometheus.Counter
	requestTime  *prometheus.HistogramVec // by op
	failed       *prometheus.CounterVec   // by op and code
	statusFailed prometheus.Counter
}

// workBuckets are for what takes milliseconds to minutes, requestBuckets for single requests; in seconds.
var (
	workBuckets    = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}
	requestBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
)

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "refship", Name: name, Help: help}
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: "refship", Name: name, Help: help, Buckets: buckets}
	}
	m := &metrics{
		registry:     prometheus.NewRegistry(),
		pushes:       prometheus.NewCounterVec(counter("pushes_total", "Pushes that have ended, by result as in the log."), []string{"result"}),
		deploys:      prometheus.NewCounterVec(counter("deploys_total", "Deploys by what asked for them, push or deploy, and what became of them."), []string{"kind", "result"}),
		pushTime:     prometheus.NewHistogram(histogram("push_duration_seconds", "How long pushes took that had something to push, from git's start to its end.", workBuckets)),
		lockTime:     prometheus.NewHistogram(histogram("lock_wait_seconds", "How long pushes and deploys waited for chain locks.", workBuckets)),
		stored:       prometheus.NewCounter(counter("stored_bytes_total", "Bytes that pushes and deploys put into etcd.")),
		requestTime:  prometheus.NewHistogramVec(histogram("etcd_request_duration_seconds", "How long etcd took to answer, by operation.", requestBuckets), []string{"op"}),
		failed:       prometheus.NewCounterVec(counter("etcd_requests_failed_total", "Requests to etcd that failed, by operation and gRPC code."), []string{"op", "code"}),
		statusFailed: prometheus.NewCounter(counter("ref_checks_failed_total", "Comparisons of refs with their chains that could not be made.")),
	}
	for _, result := range pushResults {
		m.pushes.WithLabelValues(result)
	}
	for _, kind := range []record.Kind{record.KindPush, record.KindDeploy} {
		m.deploys.WithLabelValues(string(kind), resultPublished)
		m.deploys.WithLabelValues(string(kind), resultFailed)
	}
	m.deploys.WithLabelValues(string(record.KindDeploy), resultRefused)
	for _, op := range etcd.RequestOps() {
		m.requestTime.WithLabelValues(op)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBuildInfo(),
		m.pushes, m.deploys, m.pushTime, m.lockTime, m.stored, m.requestTime, m.failed, m.statusFailed,
	)
	return m
}

func newBuildInfo() prometheus.Collector {
	version, revision := buildVersion()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "refship", Name: "build_info", Help: "What this program was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision},
	})
	info.Set(1)
	return info
}

// buildVersion is the program's module version, and the commit it was built from; each may be unknown.
func buildVersion() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			revision = setting.Value
		}
	}
	return info.Main.Version, revision
}

// report counts a push or deploy at its end.
func (m *metrics) report(r hooks.Report) {
	result := r.Result
	if !slices.Contains(pushResults[:], result) {
		result = otherLabel
	}
	kind := string(r.Kind)
	switch r.Kind {
	case record.KindPush:
		m.pushes.WithLabelValues(result).Inc()
		if result != saysNothing {
			m.pushTime.Observe(r.Took.Seconds())
		}
	case record.KindDeploy:
		if result == saysRefused {
			m.deploys.WithLabelValues(kind, resultRefused).Inc()
		}
	default:
		kind = otherLabel
	}
	m.deploys.WithLabelValues(kind, resultPublished).Add(float64(r.Deploys))
	if result == saysNotDeployed {
		m.deploys.WithLabelValues(kind, resultFailed).Inc()
	}
	m.stored.Add(float64(r.Stored))
	if r.LockWait > 0 { // taking a lock that is free takes time, too
		m.lockTime.Observe(r.LockWait.Seconds())
	}
}

// request counts a request to etcd at its end.
func (m *metrics) request(r etcd.Request) {
	m.requestTime.WithLabelValues(r.Op).Observe(r.Took.Seconds())
	if r.Code == codes.OK {
		return
	}
	code := r.Code
	if code > codes.Unauthenticated { // the last that gRPC knows
		code = codes.Unknown
	}
	m.failed.WithLabelValues(r.Op, code.String()).Inc()
}

// watchServer adds what the git server has right now.
func (m *metrics) watchServer(git *gitserver.Server) {
	gauge := func(name, help string, value func(gitserver.Stats) int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Namespace: "refship", Name: name, Help: help},
			func() float64 { return float64(value(git.Stats())) },
		))
	}
	gauge("connections", "SSH connections that are open, authenticated or not.", func(s gitserver.Stats) int { return s.Connections })
	gauge("sessions", "Commands that run for SSH clients.", func(s gitserver.Stats) int { return s.Sessions })
}

// spaceCollector shows how full etcd is; nothing while it does not answer.
type spaceCollector struct {
	space       *cached[etcd.Space]
	size, quota *prometheus.Desc
}

func newSpaceCollector(space *cached[etcd.Space]) prometheus.Collector {
	return &spaceCollector{
		space: space,
		size:  prometheus.NewDesc("refship_etcd_db_size_bytes", "Size of etcd's database file, which its quota limits.", nil, nil),
		quota: prometheus.NewDesc("refship_etcd_quota_bytes", "etcd's quota; not there where etcd does not tell it (before 3.6).", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *spaceCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.size
	out <- c.quota
}

// Collect implements prometheus.Collector.
func (c *spaceCollector) Collect(out chan<- prometheus.Metric) {
	space, err := c.space.get()
	if err != nil {
		return
	}
	out <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(space.Used))
	if space.Quota > 0 {
		out <- prometheus.MustNewConstMetric(c.quota, prometheus.GaugeValue, float64(space.Quota))
	}
}

// handler serves /metrics. A few scrapes run beside each other, no more.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}
