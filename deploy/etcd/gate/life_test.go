package gate_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/etcd/gate"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// When the context ends, a watch ends with why, in its midst, and so does all that comes later.
func TestEnds(t *testing.T) {
	e := fixture.NewEtcd(t)
	for name, c := range map[string]struct {
		cause error
		want  error
	}{
		"rule":   {fault.Refuse("", "the key may not read config any more"), etcd.ErrDenied},
		"server": {errors.New("the server stops"), etcd.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancelCause(t.Context())
			defer end(nil)
			near, served := serve(ctx, t, e.Remote(), ns)
			client := dial(t, near)
			watched := client.Watch(t.Context(), ns+"/refship/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			<-watched
			put(t, e, "7", ns+"/refship/head")
			if seen := <-watched; len(seen.Events) != 1 {
				t.Fatalf("the watch has seen %v, %v", seen, seen.Err())
			}
			end(c.cause)
			if err := <-served; !errors.Is(err, c.cause) {
				t.Errorf("Serve gave %v", err)
			}
			put(t, e, "8", ns+"/refship/head")
			seen := <-watched
			if name == "rule" {
				fixture.WantError(t, etcd.Classify(seen.Err()), c.want, c.cause.Error(), "")
			} else { // it tries again, and finds the connection ended
				fixture.WantError(t, etcd.Classify(seen.Err()), c.want, "", "")
			}
			if len(seen.Events) > 0 {
				t.Errorf("the watch has seen %v", seen.Events)
			}
			_, err := etcd.Bounded(client).Get(t.Context(), ns+"/refship/head")
			fixture.WantError(t, err, etcd.ErrUnreachable, "", "try again over a new connection")
		})
	}
}

// A gate ends with its context also while its client has said nothing: before another such gate that is older, and ends
// because nothing is said.
func TestEndsInSilence(t *testing.T) {
	_, older := serve(t.Context(), t, fixture.NewEtcd(t).Remote(), ns)
	e := fixture.NewEtcd(t) // its start is what the gates are apart
	ctx, end := context.WithCancel(t.Context())
	near, served := serve(ctx, t, e.Remote(), ns)
	if _, err := io.ReadFull(near, make([]byte, 9)); err != nil { // the gate's own first words are there
		t.Fatal(err)
	}
	end()
	select {
	case err := <-served:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Serve gave %v", err)
		}
	case err := <-older:
		t.Error("the gate has waited for its client's first words; the older one has ended with", err)
	}
}

// stalled is a stream that gives nothing any more after stall: its owner reads nothing.
type stalled struct {
	net.Conn
	mu sync.Mutex
}

// Read implements io.Reader.
func (s *stalled) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	return n, err
}

// A client that reads nothing holds up its own gate, and nothing else: not another gate, not etcd, and not the end.
func TestSlowReader(t *testing.T) {
	e := fixture.NewEtcd(t)
	key := ns + "/storage/{sha256}0"
	put(t, e, strings.Repeat("x", 1<<20), key)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	near, served := serve(ctx, t, e.Remote(), ns)
	slow := &stalled{Conn: near}
	client := dial(t, slow)
	watched := client.Watch(t.Context(), ns+"/refship/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watched
	slow.mu.Lock()
	asked := make(chan error)
	for range 8 {
		go func() {
			var gets []clientv3.Op
			for range 10 {
				gets = append(gets, clientv3.OpGet(key))
			}
			_, err := client.Txn(t.Context()).Then(gets...).Commit()
			asked <- err
		}()
	}
	other := through(t, e.Remote(), ns)
	otherWatch := other.Watch(t.Context(), ns+"/refship/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-otherWatch
	for i := range 8 { // more than what may be under way to the slow client
		put(t, e, strings.Repeat("y", 1_000_000), fmt.Sprintf("%s/refship/%d", ns, i))
		if seen := <-otherWatch; len(seen.Events) != 1 {
			t.Fatalf("another watch has seen %v, %v", seen, seen.Err())
		}
		if _, err := etcd.Bounded(other).Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	end()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve gave %v", err)
	}
	slow.mu.Unlock()
	for range 8 {
		if err := <-asked; err == nil {
			t.Error("a call has come through a gate that is closed")
		}
	}
}

// What a client has asked for and does not read is bounded, over all gates of its key. Another key has its own share,
// and nothing is held when the gates have ended.
func TestUnreadAnswers(t *testing.T) {
	e := fixture.NewEtcd(t)
	key := ns + "/storage/{sha256}0"
	put(t, e, strings.Repeat("x", 1<<20), key)
	server := gate.NewServer(e.Remote())
	open := func(key string) (slow *stalled, served chan error, client *etcd.Client) {
		near, far := pair(t)
		served = make(chan error, 1)
		go func() { served <- server.Serve(t.Context(), far, gate.Visitor{Namespace: ns, Key: key}) }()
		slow = &stalled{Conn: near}
		return slow, served, dial(t, slow)
	}
	asked := make(chan error)
	ask := func(client *etcd.Client) {
		var gets []clientv3.Op
		for range 20 {
			gets = append(gets, clientv3.OpGet(key))
		}
		_, err := client.Txn(t.Context()).Then(gets...).Commit()
		asked <- err
	}
	var slow [2]*stalled
	var served [2]chan error
	var clients [2]*etcd.Client
	for i := range slow {
		slow[i], served[i], clients[i] = open("slow")
		slow[i].mu.Lock()
	}
	const calls = 16 // of each: 640 MiB in all
	for i := range 2 * calls {
		go ask(clients[i%2])
	}
	fixture.Eventually(t, func() bool { return !server.HoldsAtMost(40 << 20) }) // what no window lets go
	_, others, other := open("other")
	for range 20 {
		if _, err := etcd.Bounded(other).Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if !server.HoldsAtMost(gate.MaxOfOne) {
			t.Error("more is held than the share of one key")
		}
	}
	for i := range slow {
		slow[i].Conn.Close()
		slow[i].mu.Unlock()
		if err := <-served[i]; err != nil {
			t.Error(err)
		}
	}
	for range 2 * calls {
		if err := <-asked; err == nil {
			t.Error("an answer has come")
		}
	}
	other.Close()
	if err := <-others; err != nil {
		t.Error(err)
	}
	if !server.HoldsAtMost(0) {
		t.Error("something is held")
	}
}

// A client that has gone ends its gate, with all that it had under way.
func TestClientGoes(t *testing.T) {
	e := fixture.NewEtcd(t)
	near, served := serve(t.Context(), t, e.Remote(), ns)
	client := dial(t, near)
	<-client.Watch(t.Context(), ns+"/refship/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve gave %v", err)
	}
	near, served = serve(t.Context(), t, e.Remote(), ns)
	near.Close() // it has said nothing
	if err := <-served; err != nil {
		t.Errorf("Serve gave %v", err)
	}
}

// The embedded etcd's own client has no connection that could be used.
func TestNoConnection(t *testing.T) {
	e := fixture.NewEtcd(t)
	near, far := pair(t)
	err := gate.NewServer(e.Client()).Serve(t.Context(), far, gate.Visitor{Namespace: ns})
	fixture.WantError(t, err, nil, "no connection", "")
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the stream is open: %v", err)
	}
}

// A gate has a bound of watches. One that has ended makes room for another.
func TestWatches(t *testing.T) {
	e := fixture.NewEtcd(t)
	client := through(t, e.Remote(), ns)
	watch := func(stream string) (end func(), err error) { // watches with the same metadata share a stream
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "stream", stream))
		seen := <-client.Watch(ctx, ns+"/refship/head", clientv3.WithCreatedNotify())
		return cancel, seen.Err()
	}
	var ends []func()
	for i := range gate.MaxWatches {
		end, err := watch([]string{"one", "two", "two"}[i%3])
		if err != nil {
			t.Fatalf("watch %d: %v", i+1, err)
		}
		ends = append(ends, end)
	}
	end, err := watch("three")
	end()
	fixture.WantError(t, etcd.Classify(err), etcd.ErrDenied, "there are 64 watches already", "")
	for _, end := range ends {
		end()
	}
	for i := range 2 * gate.MaxWatches { // one after the other, each as soon as there is room
		fixture.Eventually(t, func() bool {
			end, err := watch(fmt.Sprint("later", i))
			end()
			return err == nil
		})
	}
}

// Where the etcd behind a gate goes, calls say so. The gate stays, and is of use again when etcd is back.
func TestEtcdGoes(t *testing.T) {
	dir := fixture.ShortDir(t)
	start := func() *embedded.Etcd {
		e, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Log: fixture.Log(t), NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := start()
	server, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{etcd.Socket(dir)}, Log: fixture.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client := through(t, server, ns)
	kv := etcd.Bounded(client)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = kv.Get(t.Context(), ns+"/refship/head")
	fixture.WantError(t, err, etcd.ErrUnreachable, "", "is the server running?")
	second := start()
	defer second.Close()
	if _, err := kv.Get(t.Context(), ns+"/refship/head"); err != nil {
		t.Error(err)
	}
	watched := client.Watch(t.Context(), ns+"/refship/head", clientv3.WithCreatedNotify())
	if seen := <-watched; !seen.Created || seen.Err() != nil {
		t.Errorf("the watch has seen %v, %v", seen, seen.Err())
	}
}

// A client that pings more often than every 5 s is sent away.
func TestPings(t *testing.T) {
	e := fixture.NewEtcd(t)
	near, served := serve(t.Context(), t, e.Remote(), ns)
	frame := func(kind, flags byte, payload ...byte) string { // RFC 9113, section 4.1
		head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		return string(append(append(head, flags, 0, 0, 0, 0), payload...))
	}
	const settings, ping, goAway = 4, 6, 7
	go func() {
		_, _ = io.WriteString(near, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frame(settings, 0)+
			strings.Repeat(frame(ping, 0, 0, 0, 0, 0, 0, 0, 0, 0), 10))
	}()
	said, isAway := "", false
	for head := make([]byte, 9); !isAway; {
		if _, err := io.ReadFull(near, head); err != nil {
			t.Fatalf("the stream has ended without GOAWAY: %v", err)
		}
		payload := make([]byte, binary.BigEndian.Uint32(head)>>8)
		if _, err := io.ReadFull(near, payload); err != nil {
			t.Fatal(err)
		}
		said, isAway = string(payload), head[3] == goAway
	}
	if !strings.HasSuffix(said, "too_many_pings") {
		t.Errorf("GOAWAY says %q", said)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve gave %v", err)
	}
}

// A watch from an old revision makes etcd read all that was written since, in every namespace, while no write goes on. So
// a gate lets none begin far back: it is answered as one from a revision that was compacted.
func TestWatchOfThePast(t *testing.T) {
	e := fixture.NewEtcd(t)
	client := through(t, e.Remote(), ns)
	var last int64
	for range gate.MaxBehind + 1 {
		put, err := e.Client().Put(t.Context(), ns+"/refship/head", "7")
		if err != nil {
			t.Fatal(err)
		}
		last = put.Header.Revision
	}
	watch := func(from int64) clientv3.WatchResponse {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return <-client.Watch(ctx, ns+"/refship/head", clientv3.WithRev(from))
	}
	for _, from := range []int64{1, last - gate.MaxBehind - 1} {
		if seen := watch(from); !errors.Is(seen.Err(), rpctypes.ErrCompacted) {
			t.Errorf("from %d, where the last is %d: %d events, %v", from, last, len(seen.Events), seen.Err())
		}
	}
	for _, from := range []int64{last - gate.MaxBehind, last} {
		if seen := watch(from); seen.Err() != nil || int64(len(seen.Events)) != last-from+1 {
			t.Errorf("from %d, where the last is %d: %d events, %v", from, last, len(seen.Events), seen.Err())
		}
	}
}
