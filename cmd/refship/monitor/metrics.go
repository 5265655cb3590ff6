package monitor

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"

	"refship/hooks/report"
)

// otherLabel counts what has no series of its own, so that there are never more series than these.
const otherLabel = "other"

// What asked for a deploy.
const (
	kindPush     = "push"
	kindDeploy   = "deploy"
	kindRollback = "rollback"
)

// The results of deploys. A push that is refused counts as a push only.
const (
	deployPublished = "published"
	deployFailed    = "failed"
	deployRefused   = "refused"
)

// metrics are what /metrics shows of the server itself. The names keep to
// https://prometheus.io/docs/practices/naming/.
type metrics struct {
	registry *prometheus.Registry

	pushes         *prometheus.CounterVec // by result
	deploys        *prometheus.CounterVec // by kind and result
	pushTime       prometheus.Observer
	lockTime       prometheus.Observer
	stored         prometheus.Counter
	requestTime    *prometheus.HistogramVec // by op
	requestsFailed *prometheus.CounterVec   // by op and code
	refsFailed     prometheus.Counter

	scrubKeys, scrubBytes, scrubDamaged, scrubRepaired prometheus.Counter
	scrubFailed, scrubEnded                            prometheus.Gauge // of the last scrub
	gcDeploys, gcKeys, gcBytes, gcWon                  prometheus.Counter
	gcFailed, gcEnded                                  prometheus.Gauge // of the last gc
}

// workBuckets are for what takes milliseconds to minutes, requestBuckets for single requests; in seconds.
var (
	workBuckets    = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}
	requestBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
)

// newMetrics makes all series that are known beforehand, so that they begin at 0.
func newMetrics(etcdOps []string, version, revision string) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	auto := promauto.With(registry)
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Namespace: "refship", Name: name, Help: help}, labels)
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return auto.NewHistogramVec(
			prometheus.HistogramOpts{Namespace: "refship", Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &metrics{
		registry: registry,
		pushes:   counters("pushes_total", "Pushes that have ended, by result as in the log.", "result"),
		deploys: counters("deploys_total",
			"Deploys by what asked for them, push, deploy or rollback, and what became of them.", "kind", "result"),
		pushTime: histograms("push_duration_seconds",
			"How long pushes took that had something to push, without waiting for nodes.", workBuckets).WithLabelValues(),
		lockTime: histograms("lock_wait_seconds",
			"How long pushes and deploys waited for chain locks.", workBuckets).WithLabelValues(),
		stored: counters("stored_bytes_total", "Bytes that pushes and deploys put into etcd.").WithLabelValues(),
		requestTime: histograms("etcd_request_duration_seconds",
			"How long etcd took to answer, by operation.", requestBuckets, "op"),
		requestsFailed: counters("etcd_requests_failed_total",
			"Requests to etcd that failed, by operation and gRPC code.", "op", "code"),
		refsFailed: counters("ref_checks_failed_total",
			"Comparisons of refs with their chains that could not be made.").WithLabelValues(),
	}
	gauge := func(name, help string) prometheus.Gauge {
		return auto.NewGauge(prometheus.GaugeOpts{Namespace: "refship", Name: name, Help: help})
	}
	m.scrubKeys = counters("scrub_keys_read_total", "Keys that scrubs have read.").WithLabelValues()
	m.scrubBytes = counters("scrub_bytes_read_total", "Bytes of values that scrubs have read.").WithLabelValues()
	m.scrubDamaged = counters("scrub_damaged_total",
		"Keys that scrubs have found damaged or missing, and heads that nothing vouches for.").WithLabelValues()
	m.scrubRepaired = counters("scrub_repaired_total", "Those of them that were repaired.").WithLabelValues()
	m.scrubFailed = gauge("scrub_failed", "What the last scrub could not repair, or not look into.")
	m.scrubEnded = gauge("scrub_last_run_timestamp_seconds", "When the last scrub ended, in Unix time; 0: none has.")
	m.addGC(counters, gauge)
	for _, result := range report.Results() {
		m.pushes.WithLabelValues(result)
	}
	for _, kind := range []string{kindPush, kindDeploy, kindRollback} {
		m.deploys.WithLabelValues(kind, deployPublished)
		m.deploys.WithLabelValues(kind, deployFailed)
	}
	m.deploys.WithLabelValues(kindDeploy, deployRefused)
	m.deploys.WithLabelValues(kindRollback, deployRefused)
	for _, op := range etcdOps {
		m.requestTime.WithLabelValues(op)
	}
	auto.NewGauge(prometheus.GaugeOpts{
		Namespace: "refship", Name: "build_info", Help: "What this program was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision},
	}).Set(1)
	return m
}

func (m *metrics) addGC(
	counters func(name, help string, labels ...string) *prometheus.CounterVec,
	gauge func(name, help string) prometheus.Gauge,
) {
	m.gcDeploys = counters("gc_deploys_expired_total", "Deploys whose content gc has taken.").WithLabelValues()
	m.gcKeys = counters("gc_keys_deleted_total", "Keys that gc has deleted.").WithLabelValues()
	m.gcBytes = counters("gc_bytes_deleted_total", "Bytes of values that gc has deleted.").WithLabelValues()
	m.gcWon = counters("gc_etcd_won_bytes_total",
		"Bytes by which the embedded etcd's database became smaller, after gc.").WithLabelValues()
	m.gcFailed = gauge("gc_failed", "Chains that the last gc could not finish, or a defragmentation that failed.")
	m.gcEnded = gauge("gc_last_run_timestamp_seconds", "When the last gc ended, in Unix time; 0: none has.")
}

// report counts a push or deploy at its end.
func (m *metrics) report(r report.Report) {
	result := r.Result
	if !slices.Contains(report.Results(), result) {
		result = otherLabel
	}
	kind := string(r.Kind)
	switch kind {
	case kindPush:
		m.pushes.WithLabelValues(result).Inc()
		if result != report.Nothing {
			m.pushTime.Observe(r.Took.Seconds())
		}
	case kindDeploy, kindRollback:
		if result == report.Refused {
			m.deploys.WithLabelValues(kind, deployRefused).Inc()
		}
	default:
		kind = otherLabel
	}
	m.deploys.WithLabelValues(kind, deployPublished).Add(float64(r.Deploys))
	if result == report.Undeployed {
		m.deploys.WithLabelValues(kind, deployFailed).Inc()
	}
	m.stored.Add(float64(r.Stored))
	if r.LockWait > 0 { // taking a lock that is free takes time, too
		m.lockTime.Observe(r.LockWait.Seconds())
	}
}

// scrub counts what a scrub did, at its end.
func (m *metrics) scrub(s Scrub) {
	m.scrubKeys.Add(float64(s.Keys))
	m.scrubBytes.Add(float64(s.Bytes))
	m.scrubDamaged.Add(float64(s.Repaired + s.Failed))
	m.scrubRepaired.Add(float64(s.Repaired))
	m.scrubFailed.Set(float64(s.Failed))
	m.scrubEnded.Set(float64(s.Ended.Unix()))
}

// gc counts what gc did, at its end.
func (m *metrics) gc(g GC) {
	m.gcDeploys.Add(float64(g.Deploys))
	m.gcKeys.Add(float64(g.Keys))
	m.gcBytes.Add(float64(g.Bytes))
	m.gcWon.Add(float64(g.Won))
	m.gcFailed.Set(float64(g.Failed))
	m.gcEnded.Set(float64(g.Ended.Unix()))
}

// EtcdRequest takes in the end of a request to etcd: what it was, how long it took, and how it ended.
func (m *Monitor) EtcdRequest(op string, took time.Duration, code codes.Code) {
	m.metrics.request(op, took, code)
}

func (m *metrics) request(op string, took time.Duration, code codes.Code) {
	m.requestTime.WithLabelValues(op).Observe(took.Seconds())
	if code == codes.OK {
		return
	}
	if code > codes.Unauthenticated { // the last that gRPC knows
		code = codes.Unknown
	}
	m.requestsFailed.WithLabelValues(op, code.String()).Inc()
}

// watch adds what the git server counts.
func (m *metrics) watch(stats func() Stats) {
	auto := promauto.With(m.registry)
	gauge := func(name, help string, value func(Stats) float64) {
		auto.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "refship", Name: name, Help: help},
			func() float64 { return value(stats()) })
	}
	counter := func(name, help string, labels prometheus.Labels, value func(Stats) float64) {
		auto.NewCounterFunc(prometheus.CounterOpts{Namespace: "refship", Name: name, Help: help, ConstLabels: labels},
			func() float64 { return value(stats()) })
	}
	refused := func(why string, value func(Stats) int) {
		counter("connections_refused_total",
			"SSH connections that had to go: dropped without a login to make room for another, or turned away "+
				"because of a limit.",
			prometheus.Labels{"how": why}, func(s Stats) float64 { return float64(value(s)) })
	}
	kept := func(result string, value func(Stats) int) {
		counter("upkeeps_total", "Repositories that were packed anew, by result done or failed.",
			prometheus.Labels{"result": result}, func(s Stats) float64 { return float64(value(s)) })
	}
	gauge("connections", "SSH connections that are open, authenticated or not.",
		func(s Stats) float64 { return float64(s.Connections) })
	gauge("connections_without_login", "SSH connections that are open and have not authenticated yet.",
		func(s Stats) float64 { return float64(s.WithoutLogin) })
	gauge("sessions", "Commands that run for SSH clients.", func(s Stats) float64 { return float64(s.Sessions) })
	gauge("git_memory_bytes", "Memory that the git processes of SSH clients may take, of --git-memory.",
		func(s Stats) float64 { return float64(s.GitMemory) })
	refused("dropped", func(s Stats) int { return s.Dropped })
	refused("turned away", func(s Stats) int { return s.TurnedAway })
	kept("done", func(s Stats) int { return s.UpkeepsDone })
	kept("failed", func(s Stats) int { return s.UpkeepsFailed })
	counter("upkeep_seconds_total", "How long it took to pack repositories anew.", nil,
		func(s Stats) float64 { return s.UpkeepTime.Seconds() })
	counter("stale_locks_removed_total", "Lock files of git that a dead git left, and that were removed.", nil,
		func(s Stats) float64 { return float64(s.StaleLocks) })
}

// watchNotified adds what was told of targets.
func (m *metrics) watchNotified(stats func() Notified) {
	auto := promauto.With(m.registry)
	counter := func(result string, value func(Notified) int) {
		auto.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "refship", Name: "notify_tries_total",
			Help:        "Events that were sent (delivered), could not be sent (failed; tried again), or are told no more (given up).",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(value(stats())) })
	}
	counter("delivered", func(n Notified) int { return n.Delivered })
	counter("failed", func(n Notified) int { return n.Failed })
	counter("given up", func(n Notified) int { return n.GivenUp })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "refship", Name: "notify_queue_length", Help: "Events that wait to be sent, each receiver's for itself.",
	}, func() float64 { return float64(stats().Waiting) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "refship", Name: "notify_last_success_timestamp_seconds",
		Help: "When an event was delivered last, in Unix time; 0: none has been.",
	}, func() float64 {
		at := stats().LastSuccess
		if at.IsZero() {
			return 0
		}
		return float64(at.Unix())
	})
}

// spaceCollector shows how full etcd is; nothing while it does not answer.
type spaceCollector struct {
	space       *cached[space]
	size, inUse *prometheus.Desc
	quota       *prometheus.Desc
}

func newSpaceCollector(space *cached[space]) prometheus.Collector {
	return &spaceCollector{
		space: space,
		size: prometheus.NewDesc("refship_etcd_db_size_bytes",
			"Size of etcd's database file, which its quota limits.", nil, nil),
		inUse: prometheus.NewDesc("refship_etcd_db_in_use_bytes",
			"What of it a defragmentation would leave; 0 if etcd does not tell.", nil, nil),
		quota: prometheus.NewDesc("refship_etcd_quota_bytes",
			"etcd's quota; not there if etcd does not tell it (before 3.6).", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *spaceCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.size
	out <- c.inUse
	out <- c.quota
}

// Collect implements prometheus.Collector.
func (c *spaceCollector) Collect(out chan<- prometheus.Metric) {
	space, err := c.space.get()
	if err != nil {
		return
	}
	out <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(space.Used))
	out <- prometheus.MustNewConstMetric(c.inUse, prometheus.GaugeValue, float64(space.InUse))
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
