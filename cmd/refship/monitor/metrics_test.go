package monitor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/hooks/report"
)

// values are the counters and gauges of a registry whose name starts with prefix: "name{label=value,…}" and their
// value.
func values(t *testing.T, registry *prometheus.Registry, prefix string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), prefix) {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() +
				float64(metric.GetHistogram().GetSampleCount())
			all[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return all
}

func TestReports(t *testing.T) {
	t.Parallel()
	m := newMetrics(etcd.RequestOps(), "v1", "")
	before := values(t, m.registry, "refship_")
	for _, r := range []report.Report{
		{Kind: record.KindPush, Result: "deployed", Deploys: 3, Took: time.Second, LockWait: time.Millisecond, Stored: 100},
		{Kind: record.KindPush, Result: "refused", Took: time.Second},
		{Kind: record.KindPush, Result: "not deployed", Deploys: 1, Took: time.Second, LockWait: time.Millisecond,
			Stored: 11},
		{Kind: record.KindDeploy, Result: "deployed", Deploys: 1, Took: time.Second, LockWait: time.Millisecond},
		{Kind: record.KindDeploy, Result: "refused"},
		{Kind: record.KindDeploy, Result: "not deployed"},
	} {
		m.report(r)
	}
	got := values(t, m.registry, "refship_")
	for name, value := range before {
		if got[name] == value {
			delete(got, name)
		}
	}
	want := map[string]float64{
		"refship_pushes_total{result=deployed}":               1,
		"refship_pushes_total{result=refused}":                1,
		"refship_pushes_total{result=not deployed}":           1,
		"refship_push_duration_seconds{}":                     3,
		"refship_deploys_total{kind=push,result=published}":   4,
		"refship_deploys_total{kind=push,result=failed}":      1,
		"refship_deploys_total{kind=deploy,result=published}": 1,
		"refship_deploys_total{kind=deploy,result=refused}":   1,
		"refship_deploys_total{kind=deploy,result=failed}":    1,
		"refship_lock_wait_seconds{}":                         3,
		"refship_stored_bytes_total{}":                        111,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever is reported, there are never more series than could be written down beforehand.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	m := newMetrics(etcd.RequestOps(), "v1", "")
	count := func() int { return len(values(t, m.registry, "refship_")) }
	before := count()
	for i := range 200 {
		m.report(report.Report{Kind: record.Kind(fmt.Sprint(i)), Result: fmt.Sprint(i)})
		m.report(report.Report{Kind: record.KindPush, Result: fmt.Sprint(i)})
		for _, op := range etcd.RequestOps() {
			m.request(op, time.Millisecond, codes.Code(i))
		}
	}
	if n := count() - before; n > len(etcd.RequestOps())*16+3 { // operations by codes; a result and a kind that are other
		t.Errorf("%d more series", n)
	}
	all := values(t, m.registry, "refship_")
	if n := all["refship_pushes_total{result=other}"]; n != 200 {
		t.Errorf("%v pushes with another result", n)
	}
	if n := all["refship_etcd_requests_failed_total{code=Unknown,op=get}"]; n != 1+200-17 {
		t.Errorf("%v failures of unknown kind", n)
	}
}
