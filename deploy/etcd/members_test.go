package etcd_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// member is an endpoint before an etcd: it may be a learner, which refuses, or stand still, with its connections.
type member struct {
	addr    string
	refuses atomic.Pointer[status.Status] // a learner's answer; nil: passes everything on
	refused atomic.Int64

	onRefusal func() // called at the first; set before it is asked

	mu    sync.Mutex
	still chan struct{} // closed when it goes on; nil: it goes on
	ends  []func()      // of its connections
}

// newMember passes connections on to an etcd that listens on addr.
func newMember(t *testing.T, addr string) *member {
	t.Helper()
	m := &member{}
	learner := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		if m.refused.Add(1) == 1 && m.onRefusal != nil {
			m.onRefusal()
		}
		answer := m.refuses.Load()
		if answer == nil { // it votes now, and this connection is about to be cut
			return status.Error(codes.Unavailable, "connection closed")
		}
		return answer.Err()
	}))
	inside := listen(t)
	go learner.Serve(inside) //nolint:errcheck // it ends with Stop
	t.Cleanup(learner.Stop)

	outside := listen(t)
	m.addr = outside.Addr().String()
	var ended sync.WaitGroup
	t.Cleanup(func() { outside.Close(); m.resume(); ended.Wait() })
	ended.Go(func() {
		for {
			conn, err := outside.Accept()
			if err != nil {
				return
			}
			ended.Go(func() {
				defer conn.Close()
				m.moving(t.Context())
				to := addr
				if m.refuses.Load() != nil {
					to = inside.Addr().String()
				}
				m.join(t, conn, to)
			})
		}
	})
	return m
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (m *member) join(t *testing.T, conn net.Conn, addr string) {
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	defer context.AfterFunc(ctx, func() { conn.Close(); to.Close() })()
	m.mu.Lock()
	m.ends = append(m.ends, end)
	m.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{conn, to}, {to, conn}} {
		both.Go(func() {
			defer way[1].Close()
			buffer := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buffer)
				m.moving(t.Context())
				if _, errTo := way[1].Write(buffer[:n]); err != nil || errTo != nil {
					return
				}
			}
		})
	}
	both.Wait()
}

// moving waits while the member stands still.
func (m *member) moving(ctx context.Context) {
	m.mu.Lock()
	still := m.still
	m.mu.Unlock()
	if still != nil {
		select {
		case <-still:
		case <-ctx.Done():
		}
	}
}

// cut ends the connections that there are.
func (m *member) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, end := range m.ends {
		end()
	}
}

func (m *member) pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.still = make(chan struct{})
}

func (m *member) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.still != nil {
		close(m.still)
		m.still = nil
	}
}

// learners answer so: etcd 3.4, and 3.5 on.
var learnerAnswers = map[string]*status.Status{
	"3.4": status.New(codes.Unavailable, "etcdserver: rpc not supported for learner"),
	"3.5": status.Convert(rpctypes.ErrGRPCNotSupportedForLearner),
}

// A learner among the endpoints disturbs no kind of call, whichever endpoint the client connects to first.
func TestLearnerAmongEndpoints(t *testing.T) {
	t.Parallel()
	for version, answer := range learnerAnswers {
		for _, user := range []string{"", "root:secret"} {
			t.Run(version+" "+user, func(t *testing.T) {
				e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
				if user != "" {
					fixture.EnableAuth(t, e.Client())
				}
				learner, late := newMember(t, e.Addr()), newMember(t, e.Addr())
				learner.refuses.Store(answer)
				late.pause() // the client can only ask the learner at first
				learner.onRefusal = late.resume
				tryEverything(t, dial(t, etcd.Config{Endpoints: []string{learner.addr, late.addr}, User: user}))
				if n := learner.refused.Load(); n == 0 {
					t.Error("the learner was asked for nothing")
				}
			})
		}
	}
}

// tryEverything makes each kind of call several times at once: the client takes one endpoint after the other.
func tryEverything(t *testing.T, client *clientv3.Client) {
	t.Helper()
	kv := etcd.Bounded(client)
	var all sync.WaitGroup
	for i := range 8 {
		key := fmt.Sprint("key", i)
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			changes := client.Watch(ctx, key)
			if _, err := kv.Put(ctx, key, "value"); err != nil {
				t.Error("put: ", err)
			}
			if _, err := kv.Get(ctx, key); err != nil {
				t.Error("get: ", err)
			}
			if _, err := kv.Txn(ctx).Then(clientv3.OpPut(key, "other")).Commit(); err != nil {
				t.Error("txn: ", err)
			}
			if _, err := kv.Delete(ctx, "none"); err != nil {
				t.Error("delete: ", err)
			}
			id, err := etcd.Grant(ctx, client, 60)
			if err != nil {
				t.Error("grant: ", err)
			}
			alive, err := client.KeepAlive(ctx, id)
			if err != nil {
				t.Error("keep alive: ", err)
			} else if answer := <-alive; answer == nil {
				t.Error("keep alive: no answer")
			}
			if _, err := etcd.ReadSpace(ctx, client); err != nil {
				t.Error("read space: ", err)
			}
			if err := etcd.Ping(ctx, client); err != nil {
				t.Error("ping: ", err)
			}
			// A watch from now on may begin after the puts.
			if _, err := kv.Put(ctx, key, "last"); err != nil {
				t.Error("put: ", err)
			}
			if change := <-changes; len(change.Events) == 0 {
				t.Error("watch: ", change.Err())
			}
		})
	}
	all.Wait()
}

// A watch or a keepalive that meets a learner goes on with another member.
func TestStreamMeetsLearner(t *testing.T) {
	t.Parallel()
	for version, answer := range learnerAnswers {
		for _, watches := range []bool{true, false} {
			t.Run(fmt.Sprint(version, " watches ", watches), func(t *testing.T) {
				e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
				learner := newMember(t, e.Addr())
				learner.refuses.Store(answer)
				learner.pause()
				client := dial(t, etcd.Config{Endpoints: []string{learner.addr, e.Addr()}})
				learner.resume()
				for i := 0; learner.refused.Load() == 0 && t.Context().Err() == nil; i++ {
					if watches {
						watchOnce(t, client, e.Client(), fmt.Sprint("key", i))
					} else {
						keepAliveOnce(t, client, e.Client())
					}
				}
			})
		}
	}
}

// watchOnce watches over a stream of its own.
func watchOnce(t *testing.T, client, writer *clientv3.Client, key string) {
	t.Helper()
	watcher := clientv3.NewWatcher(client)
	defer watcher.Close()
	changes := watcher.Watch(t.Context(), key, clientv3.WithRev(1))
	if _, err := writer.Put(t.Context(), key, "value"); err != nil {
		t.Fatal(err)
	}
	if change := <-changes; len(change.Events) == 0 {
		t.Fatal("watch: ", change.Err())
	}
}

func keepAliveOnce(t *testing.T, client, writer *clientv3.Client) {
	t.Helper()
	lease, err := writer.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	lessor := clientv3.NewLease(client)
	defer lessor.Close()
	alive, err := lessor.KeepAlive(t.Context(), lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	if <-alive == nil {
		t.Fatal("keep alive: no answer")
	}
}

// Learners alone are told, with what to do.
func TestOnlyLearners(t *testing.T) {
	t.Parallel()
	for version, answer := range learnerAnswers {
		a, b := newMember(t, ""), newMember(t, "")
		a.refuses.Store(answer)
		b.refuses.Store(answer)
		for _, endpoints := range [][]string{{a.addr}, {a.addr, b.addr}} {
			began := time.Now()
			_, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: endpoints, DialTimeout: 2 * time.Minute,
				Log: fixture.Log(t)})
			fixture.WantError(t, err, etcd.ErrUnreachable, "rpc not supported for learner", "members that vote")
			if took := time.Since(began); took > time.Minute {
				t.Errorf("%s: it took %s", version, took)
			}
		}
	}
}

// A learner that was left out is used when it votes, which it does in place of a member that is then taken away.
func TestLearnerIsPromoted(t *testing.T) {
	t.Parallel()
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	old, young := newMember(t, e.Addr()), newMember(t, e.Addr())
	young.refuses.Store(learnerAnswers["3.5"])
	client := dial(t, etcd.Config{Endpoints: []string{old.addr, young.addr}})
	kv := etcd.Bounded(client)
	for range 4 {
		if _, err := kv.Get(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
	}
	young.refuses.Store(nil)
	young.cut() // what is connected to it is connected to the learner
	old.pause()
	tries := 0
	if _, err := kv.Get(etcd.CountTries(t.Context(), &tries), "key"); err != nil {
		t.Error(err)
	}
	if tries > 4 { // each has twice as long as the one before: the learner was not asked for long
		t.Errorf("it took %d tries", tries)
	}
}

// A member that stands still costs the call that meets it some time, and no other call; then it has its share again.
func TestMemberStandsStill(t *testing.T) {
	t.Parallel()
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	first, second := newMember(t, e.Addr()), newMember(t, e.Addr())
	client := dial(t, etcd.Config{Endpoints: []string{first.addr, second.addr}})
	kv := etcd.Bounded(client)
	for range 4 { // both are connected
		if _, err := kv.Get(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
	}
	first.pause()
	slow := 0
	for range 20 {
		tries := 0
		if _, err := kv.Get(etcd.CountTries(t.Context(), &tries), "key"); err != nil {
			t.Error(err)
		}
		if tries > 1 {
			slow++
		}
	}
	if slow == 0 || slow > 5 { // every other one would meet it; a machine that stands still costs a try, too
		t.Errorf("%d of 20 calls were sent more than once, want those that met the member", slow)
	}
	// Now the other one: the first has come back.
	first.resume()
	second.pause()
	if _, err := kv.Get(t.Context(), "key"); err != nil {
		t.Error(err)
	}
}
