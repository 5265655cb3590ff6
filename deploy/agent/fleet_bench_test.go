package agent_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"refship/deploy"
	"refship/deploy/agent"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

var (
	fleetNodes     = flag.Int("fleet.nodes", 500, "how many nodes BenchmarkFleet has")
	fleetSimulated = flag.Int("fleet.simulated", 5000, "how many it has that do nothing but ask as one of them does")
	fleetDeploys   = flag.Int("fleet.deploys", 5, "how many deploys it measures of each kind")
	fleetRoots     = flag.String("fleet.roots", "", "where the nodes' roots are made; else with other temporary files")
)

// BenchmarkFleet measures how long it takes until the last of many nodes has a deploy of one small file, and what that
// costs an etcd that is a process of its own:
//
//   - watches: nodes that only hear of it. It is the least that anything costs that hears of deploys by etcd.
//   - nodes: agents, all in this process.
//   - simulated: clients that ask what one agent has asked for, without its disk.
//
// Each kind has an etcd of its own. Run it alone:
//
//	go test -run '^$' -bench Fleet -benchtime 1x ./deploy/agent
func BenchmarkFleet(b *testing.B) {
	b.Run("watches", func(b *testing.B) {
		f := newBenchFleet(b)
		f.measure(b, *fleetNodes, false, f.startWatch)
	})
	b.Run("nodes", func(b *testing.B) {
		f := newBenchFleet(b)
		f.measure(b, *fleetNodes, true, f.startAgent)
	})
	b.Run("simulated", func(b *testing.B) {
		f := newBenchFleet(b)
		asked := f.record()
		f.measure(b, *fleetSimulated, true, func(i int) { f.startSimulated(fmt.Sprint("s", i), asked) })
	})
}

// benchFleet is a chain in an etcd of its own, and those who hear of its deploys.
type benchFleet struct {
	testing.TB
	etcd    *fixture.Process
	chain   *chain.Setup
	ctx     context.Context // of those who hear
	running sync.WaitGroup
	heard   chan benchHeard
	retried atomic.Int64 // tries that failed
	parent  []tree.OID
}

// fleetPatience is how long a deploy may take until all have it. (Nothing else ends a benchmark.)
const fleetPatience = 2 * time.Minute

// benchHeard is that somebody has a deploy.
type benchHeard struct {
	id record.ID
	at time.Time
}

// zapLog is the log of all newer etcds. With its old one 3.4 may fail when it has too much to do.
const zapLog = "--logger=zap"

func newBenchFleet(b testing.TB) *benchFleet {
	b.Helper()
	f := &benchFleet{TB: b, etcd: fixture.StartProcess(b, zapLog), heard: make(chan benchHeard, 10_000)}
	ctx, cancel := context.WithCancel(b.Context())
	f.ctx = ctx
	client := f.dial()
	f.chain = &chain.Setup{
		TB: b, Client: client, KV: client.KV, Repo: fixture.NewRepository(b), Namespace: namespace,
	}
	f.chain.Store = f.chain.NewStore(deploy.Config{})
	b.Cleanup(func() {
		cancel()
		f.running.Wait()
	})
	return f
}

// dial connects until the benchmark ends.
func (f *benchFleet) dial(options ...grpc.DialOption) *etcd.Client {
	f.Helper()
	client, err := f.connect(options...)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = client.Close() }) // nothing is asked of it any more
	return client
}

func (f *benchFleet) connect(options ...grpc.DialOption) (*etcd.Client, error) {
	if len(options) == 0 {
		return etcd.Dial(f.Context(), etcd.Config{Endpoints: []string{f.etcd.URL()}, DialTimeout: time.Minute})
	}
	return clientv3.New(clientv3.Config{
		Context: f.Context(), Endpoints: []string{f.etcd.URL()}, DialOptions: options, DialTimeout: time.Minute,
	})
}

// publish deploys a tree of three files of which one is new.
func (f *benchFleet) publish() *record.Deploy {
	f.Helper()
	return f.publishFiles(map[string]fixture.File{
		"a": {Content: "always"}, "dir/b": {Content: "the same"}, "dir/c": {Content: fmt.Sprint(len(f.parent))},
	})
}

// publishFiles deploys a commit of these files.
func (f *benchFleet) publishFiles(all map[string]fixture.File) *record.Deploy {
	f.Helper()
	number := len(f.parent)
	commit := f.chain.Repo.Commit(fmt.Sprint("number ", number), all, f.parent[max(0, number-1):]...)
	f.parent = append(f.parent, commit)
	for end := time.Now().Add(fleetPatience); ; {
		d, err := f.chain.Publish(f.Context(), f.chain.Job(commit))
		switch {
		case err == nil:
			return d
		case !fault.Is(err, fault.Unavailable) || time.Now().After(end): // else it may be there: etcd answers others first
			f.Fatal(err)
		}
	}
}

// all waits until n have a deploy, and gives how long after its record's time each had it, the first one first.
func (f *benchFleet) all(n int, d *record.Deploy) []time.Duration {
	f.Helper()
	late := time.After(fleetPatience)
	var took []time.Duration
	for len(took) < n {
		select {
		case h := <-f.heard:
			if h.id == d.ID {
				took = append(took, h.at.Sub(d.Record.Time))
			}
		case <-late:
			f.Fatalf("%d of %d have deploy %d", len(took), n, d.ID)
		}
	}
	slices.Sort(took)
	return took
}

// measure starts n of a kind, and publishes to them. reports: each of them has reported when it is done.
func (f *benchFleet) measure(b *testing.B, n int, reports bool, start func(i int)) {
	f.publish()
	before := fixture.Memory(f, f.etcd.PID())
	told := func(*record.Deploy) time.Duration { return 0 }
	if reports {
		told = f.watchReports(n)
	}
	var group errgroup.Group
	group.SetLimit(64) // etcd grants their leases together
	for i := range n {
		group.Go(func() error {
			start(i)
			return nil
		})
	}
	if _ = group.Wait(); f.Failed() {
		f.FailNow()
	}
	d := f.publish()
	f.all(n, d)
	told(d)
	f.retried.Store(0)
	at := f.traffic()
	cpu, here, memory := fixture.CPUTime(f, f.etcd.PID()), fixture.CPUTime(f, os.Getpid()), fixture.Memory(f, f.etcd.PID())-before
	var first, middle, last, reported []time.Duration
	for b.Loop() {
		for range *fleetDeploys {
			d := f.publish()
			took := f.all(n, d)
			first, middle, last = append(first, took[0]), append(middle, took[n/2]), append(last, took[n-1])
			reported = append(reported, told(d))
		}
	}
	deploys := float64(len(last))
	cost := f.traffic().minus(at)
	for unit, all := range map[string][]time.Duration{
		"ms-first": first, "ms-half": middle, "ms-last": last, "ms-reported": reported,
	} {
		b.ReportMetric(quantile(all, 0.5).Seconds()*1e3, unit)
	}
	b.ReportMetric((fixture.CPUTime(f, f.etcd.PID())-cpu).Seconds()*1e3/deploys, "etcd-cpu-ms")
	b.ReportMetric((fixture.CPUTime(f, os.Getpid())-here).Seconds()*1e3/deploys, "here-cpu-ms")
	b.ReportMetric(float64(memory)/(1<<20), "etcd-MiB")
	b.ReportMetric(float64(fixture.PeakMemory(f, f.etcd.PID())-before)/(1<<20), "etcd-peak-MiB")
	b.ReportMetric(cost.asked/deploys/float64(n), "asked/node")
	b.ReportMetric(cost.received/deploys/float64(n), "B-up/node")
	b.ReportMetric(cost.sent/deploys/float64(n), "B-down/node")
	b.ReportMetric(float64(f.retried.Load()), "retries")
	b.ReportMetric(0, "ns/op") // of all deploys: says nothing
}

func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[int(q*float64(len(sorted)-1))]
}

// watchReports gives what waits until n nodes have reported that a deploy runs, and tells how long after its record's
// time the last one did.
func (f *benchFleet) watchReports(n int) func(*record.Deploy) time.Duration {
	prefix := f.keys().Key(record.NodeKeys)
	changes := f.chain.Client.Watch(f.ctx, prefix, clientv3.WithPrefix())
	return func(d *record.Deploy) time.Duration {
		f.Helper()
		late := time.After(fleetPatience)
		for run := map[string]bool{}; len(run) < n; {
			select {
			case resp := <-changes:
				for _, e := range resp.Events {
					name := strings.TrimPrefix(string(e.Kv.Key), prefix)
					if r := record.ParseNodeReport(name, e.Kv.Value); r.State == record.NodeRunning && r.ID == d.ID {
						run[name] = true
					}
				}
			case <-late:
				f.Fatalf("%d of %d have reported deploy %d", len(run), n, d.ID)
			}
		}
		return time.Since(d.Record.Time)
	}
}

func (f *benchFleet) keys() *store.Chain { return store.Open(f.chain.Client, namespace) }

// traffic is what etcd's metrics tell of its clients.
type traffic struct{ asked, received, sent float64 } // requests for keys; bytes of all messages

func (t traffic) minus(other traffic) traffic {
	return traffic{t.asked - other.asked, t.received - other.received, t.sent - other.sent}
}

func (f *benchFleet) traffic() (t traffic) {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), http.MethodGet, f.etcd.URL()+"/metrics", nil)
	if err != nil {
		f.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		switch {
		case err != nil:
		case strings.HasPrefix(line, "grpc_server_started_total{") && strings.Contains(line, `="etcdserverpb.KV"`):
			t.asked += value
		case strings.HasPrefix(line, "etcd_network_client_grpc_received_bytes_total "):
			t.received += value
		case strings.HasPrefix(line, "etcd_network_client_grpc_sent_bytes_total "):
			t.sent += value
		}
	}
	if err := lines.Err(); err != nil || t.asked == 0 || t.received == 0 || t.sent == 0 {
		f.Fatalf("etcd's metrics say %v, %v", t, err)
	}
	return t
}

// A deploy of one file costs a node's etcd five requests to read and one to report; one more report says what a slow
// machine does meanwhile.
func TestDeployCosts(t *testing.T) {
	var asked, reports int
	for _, txn := range newBenchFleet(t).record() {
		if len(txn.Compare) > 0 {
			reports++
		} else {
			asked++
		}
	}
	if asked != 5 || reports < 1 || reports > 2 {
		t.Errorf("a deploy costs %d requests to read, and %d to report", asked, reports)
	}
}

// startWatch is a node that only hears of deploys.
func (f *benchFleet) startWatch(int) { f.watch(f.dial(), func(record.ID) {}) }

// watch hears of deploys as a node does, and tells of each once done has returned.
func (f *benchFleet) watch(client *etcd.Client, done func(record.ID)) {
	created := make(chan bool)
	f.running.Go(func() {
		for resp := range client.Watch(clientv3.WithRequireLeader(f.ctx), namespace+"/deploy/", clientv3.WithPrefix(),
			clientv3.WithCreatedNotify(), clientv3.WithProgressNotify()) {
			if resp.Created {
				close(created)
			}
			for _, e := range resp.Events {
				id, isRecord := strings.CutSuffix(strings.TrimPrefix(string(e.Kv.Key), namespace+"/deploy/"), "/record")
				if !isRecord {
					continue
				}
				n, err := strconv.ParseUint(id, 10, 64)
				if err != nil {
					f.Errorf("%s: %v", e.Kv.Key, err)
				}
				done(record.ID(n))
				f.heard <- benchHeard{record.ID(n), time.Now()}
			}
		}
	})
	<-created
}

// startSimulated is a client that asks for what a node has asked for, in its own name, when there is a deploy.
func (f *benchFleet) startSimulated(name string, asked []*pb.TxnRequest) {
	client := f.dial()
	granted, err := client.Grant(f.ctx, 600) // it must not run out where this process is the slow part
	if err != nil {
		f.Fatal(err)
	}
	lease := granted.ID
	kept, err := client.KeepAlive(f.ctx, lease)
	if err != nil {
		f.Fatal(err)
	}
	f.running.Go(func() {
		for range kept {
		}
	})
	_, err = client.Put(f.ctx, f.keys().Key(record.AliveKeys+name), aliveOf(asked), clientv3.WithLease(lease))
	if err != nil {
		f.Fatal(err)
	}
	rename := func(key []byte) []byte {
		if before, ok := bytes.CutSuffix(key, []byte("/recorded")); ok {
			return append(slices.Clip(before), "/"+name...)
		}
		return key
	}
	kv := pb.NewKVClient(client.ActiveConnection())
	f.watch(client, func(id record.ID) {
		for _, template := range asked {
			txn := proto.Clone(template).(*pb.TxnRequest)
			for _, c := range txn.Compare {
				c.Key = rename(c.Key)
			}
			for _, op := range txn.Success {
				if put := op.GetRequestPut(); put != nil {
					if put.Key = rename(put.Key); put.Lease != 0 {
						put.Lease = int64(lease)
					} else {
						put.Value = reportOf(name, id, put.Value)
					}
				}
			}
			for { // as a node does
				resp, err := kv.Txn(f.ctx, txn)
				if err == nil && resp.Succeeded || f.ctx.Err() != nil {
					break
				}
				f.retried.Add(1)
			}
		}
	})
}

// aliveOf is what the key says that tells that the recorded node lives.
func aliveOf(asked []*pb.TxnRequest) string {
	for _, txn := range asked {
		for _, c := range txn.Compare {
			if c.GetValue() != nil {
				return string(c.GetValue())
			}
		}
	}
	return ""
}

// reportOf is a report in another's name, and of another deploy.
func reportOf(name string, id record.ID, report []byte) []byte {
	r := record.ParseNodeReport(name, report)
	r.Wants = id
	if r.State == record.NodeRunning {
		r.ID = id
	}
	encoded, err := r.Encode()
	if err != nil {
		return nil
	}
	return encoded
}

// startAgent is a node.
func (f *benchFleet) startAgent(i int) {
	roots := *fleetRoots
	if roots == "" {
		roots = f.TempDir()
	}
	root, err := os.MkdirTemp(roots, "node")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(root) }) // --fleet.roots may be no directory of the test's own
	f.run(filepath.Join(root, "root"), fmt.Sprint("n", i), func(context.Context) (*etcd.Client, error) {
		return f.connect()
	})
}

func (f *benchFleet) run(root, name string, dial func(context.Context) (*etcd.Client, error)) {
	a, err := agent.New(agent.Config{
		Root: root, Link: "current", Name: name, MaxFailures: -1, Period: time.Hour, SyncTimeout: time.Hour,
		KeepReleases: 1, Log: slog.New(switchLog{f}), Version: "a benchmark",
		Remedy: func(error) string { return "" },
		Judge:  func(context.Context, *store.Chain, *record.Deploy) error { return nil },
		Dial: func(ctx context.Context) (*etcd.Client, record.Namespace, error) {
			client, err := dial(ctx)
			return client, namespace, err
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.running.Go(func() {
		if err := a.Run(f.ctx); err != nil {
			f.Error(err)
		}
	})
}

// switchLog is a log that hears of switches.
type switchLog struct{ *benchFleet }

func (l switchLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l switchLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l switchLog) WithGroup(string) slog.Handler                    { return l }

func (l switchLog) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case "try failed":
		l.retried.Add(1)
	case "switched":
		r.Attrs(func(attr slog.Attr) bool {
			if id, ok := attr.Value.Any().(record.ID); ok {
				l.heard <- benchHeard{id, r.Time}
			}
			return true
		})
	}
	return nil
}

// record gives what a node asks etcd for when there is a deploy of one file.
func (f *benchFleet) record() []*pb.TxnRequest {
	f.Helper()
	var mu sync.Mutex
	var asked []*pb.TxnRequest
	ctx, cancel := context.WithCancel(f.ctx)
	whole := f.ctx
	f.ctx = ctx
	client := f.dial(grpc.WithChainUnaryInterceptor(func(
		ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
		opts ...grpc.CallOption,
	) error {
		if txn, ok := request.(*pb.TxnRequest); ok {
			mu.Lock()
			asked = append(asked, proto.Clone(txn).(*pb.TxnRequest))
			mu.Unlock()
		}
		return invoke(ctx, method, request, reply, conn, opts...)
	}))
	f.run(f.TempDir(), "recorded", func(context.Context) (*etcd.Client, error) { return client, nil })
	told := f.watchReports(1)
	for range 2 {
		mu.Lock()
		asked = nil
		mu.Unlock()
		told(f.publish())
	}
	mu.Lock()
	all := slices.Clone(asked)
	mu.Unlock()
	cancel()
	f.running.Wait()
	f.ctx = whole
	return all
}
