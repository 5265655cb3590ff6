package monitor

// What a user gains from these tests: the alert rules and the dashboard in contrib/monitoring ask for nothing that the
// server does not have.

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"refship/deploy/etcd"
	"refship/gitserver/repos"
)

const monitoringDir = "../../../contrib/monitoring"

// exported is what a server's /metrics may have: its metrics' labels by name, and the series that exist from the start.
func exported(t *testing.T) (labels map[string][]string, series map[string]float64) {
	t.Helper()
	m := newMetrics(etcd.RequestOps(), "", "")
	m.registry.MustRegister(
		newSpaceCollector(new(cached[space])), newRefWatch(repos.Dir{}, m.refsFailed, slog.New(slog.DiscardHandler)),
	)
	m.watch(nil)
	m.watchNotified(nil)
	descs := make(chan *prometheus.Desc)
	go func() {
		m.registry.Describe(descs)
		close(descs)
	}()
	// A Desc tells its name and labels in no other way.
	told := regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	labels = make(map[string][]string)
	for desc := range descs {
		match := told.FindStringSubmatch(desc.String())
		if match == nil {
			t.Fatalf("a metric describes itself as %s", desc)
		}
		var names []string
		for _, label := range strings.Split(match[2]+","+match[3], ",") {
			name, _, _ := strings.Cut(label, "=")
			names = append(names, name)
		}
		labels[match[1]] = names
	}
	for _, name := range []string{"refship_push_duration_seconds", "refship_lock_wait_seconds",
		"refship_etcd_request_duration_seconds"} {
		labels[name+"_bucket"] = append([]string{"le"}, labels[name]...)
	}
	labels["up"] = nil // Prometheus' own
	return labels, values(t, newMetrics(etcd.RequestOps(), "", "").registry, "refship_")
}

// The parts of PromQL that our queries have.
var (
	promString   = regexp.MustCompile(`"[^"]*"`)
	promRange    = regexp.MustCompile(`\[[^]]*\]`)
	promGrouping = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	promSelector = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\{([^}]*)\}`)
	promWord     = regexp.MustCompile(`[a-zA-Z_:][\w:]*\s*\(?`)
	promMatcher  = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
)

// unknownIn lists what is wrong with a query: metrics, labels and values that the server does not have.
func unknownIn(query string, labels map[string][]string, series map[string]float64) (wrong []string) {
	known := func(label string) bool { return slices.Contains([]string{"job", "instance"}, label) } // Prometheus adds them
	for _, match := range promSelector.FindAllStringSubmatch(query, -1) {
		metric := match[1]
		for _, matcher := range promMatcher.FindAllStringSubmatch(match[2], -1) {
			label, value := matcher[1], matcher[3]
			if known(label) {
				continue
			}
			if !slices.Contains(labels[metric], label) {
				wrong = append(wrong, metric+" has no label "+label)
			}
			if matcher[2] == "=" && !hasSeries(series, strings.TrimSuffix(metric, "_bucket"), label+"="+value) {
				wrong = append(wrong, fmt.Sprintf("%s has no series with %s=%q", metric, label, value))
			}
		}
	}
	var grouped []string
	rest := promString.ReplaceAllString(query, `""`)
	rest = promSelector.ReplaceAllString(rest, "$1")
	rest = promRange.ReplaceAllString(rest, "")
	for _, match := range promGrouping.FindAllStringSubmatch(rest, -1) {
		grouped = append(grouped, strings.FieldsFunc(match[1], func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	rest = promGrouping.ReplaceAllString(rest, "")
	var used []string // labels of the query's metrics
	for _, word := range promWord.FindAllString(rest, -1) {
		if strings.HasSuffix(word, "(") || slices.Contains([]string{"unless", "and", "or"}, strings.TrimSpace(word)) {
			continue // a function, an operator
		}
		word = strings.TrimSpace(word)
		if _, ok := labels[word]; !ok {
			wrong = append(wrong, "there is no metric "+word)
		}
		used = append(used, labels[word]...)
	}
	for _, label := range grouped {
		if !known(label) && !slices.Contains(used, label) {
			wrong = append(wrong, "no metric of the query has the label "+label)
		}
	}
	return wrong
}

func hasSeries(series map[string]float64, metric, label string) bool {
	for name := range series {
		if rest, ok := strings.CutPrefix(name, metric+"{"); ok &&
			slices.Contains(strings.Split(strings.TrimSuffix(rest, "}"), ","), label) {
			return true
		}
	}
	return false
}

func readMonitoring(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoringDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAlertRules(t *testing.T) {
	t.Parallel()
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(readMonitoring(t, "alerts.yml"))))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	labels, series := exported(t)
	seen := make(map[string]bool)
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || seen[rule.Alert] || rule.Annotations["summary"] == "" || rule.Labels["severity"] == "" {
				t.Errorf("alert %q has no name of its own, summary or severity", rule.Alert)
			}
			seen[rule.Alert] = true
			for _, wrong := range unknownIn(rule.Expr, labels, series) {
				t.Errorf("alert %s: %s", rule.Alert, wrong)
			}
		}
	}
	if len(seen) == 0 {
		t.Error("there are no alerts")
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	var board struct {
		Templating struct {
			List []struct {
				Name  string
				Type  string
				Query any
			}
		}
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(readMonitoring(t, "dashboard.json"), &board); err != nil {
		t.Fatal(err)
	}
	labels, series := exported(t)
	check := func(where, query string) {
		t.Helper()
		for _, wrong := range unknownIn(query, labels, series) {
			t.Errorf("%s: %s", where, wrong)
		}
	}
	for _, variable := range board.Templating.List {
		if query, ok := variable.Query.(map[string]any); ok {
			check("variable "+variable.Name, regexp.MustCompile(`^label_values\((.*), \w+\)$`).ReplaceAllString(
				fmt.Sprint(query["query"]), "$1"))
		}
	}
	queries, ids := 0, make(map[int]bool)
	for _, panel := range board.Panels {
		if ids[panel.ID] {
			t.Errorf("panel %q has the id of another", panel.Title)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			queries++
			check(fmt.Sprintf("panel %q", panel.Title), target.Expr)
		}
	}
	if queries == 0 {
		t.Error("the dashboard asks for nothing")
	}
}

// That the two tests above see mistakes.
func TestUnknownInQueries(t *testing.T) {
	t.Parallel()
	labels, series := exported(t)
	for query, want := range map[string]string{
		`up{job="refship"} == 1 unless on (job, instance) refship_etcd_db_size_bytes`: "",
		`sum by (result) (increase(refship_pushes_total{result="deployed"}[5m]))`:     "",
		`refship_pushes`: "there is no metric refship_pushes",
		`rate(refship_pushes_total{result="gone"}[5m])`:                      `refship_pushes_total has no series with result="gone"`,
		`rate(refship_pushes_total{kind=~".*"}[5m])`:                         "refship_pushes_total has no label kind",
		`sum by (kind) (rate(refship_pushes_total[$__rate_interval]))`:       "no metric of the query has the label kind",
		`rate(refship_pushes_total_bucket[5m])`:                              "there is no metric refship_pushes_total_bucket",
		`sum(go_goroutines{job="refship"}) / sum(go_gorutines) or vector(0)`: "there is no metric go_gorutines",
	} {
		if got := strings.Join(unknownIn(query, labels, series), "; "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
