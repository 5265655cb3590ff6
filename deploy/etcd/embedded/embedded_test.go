package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/goleak"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

func TestStartAgain(t *testing.T) {
	dir := filepath.Join(fixture.ShortDir(t), "new")
	for i := range 3 {
		began := time.Now()
		e := start(t, embedded.Config{Dir: dir})
		t.Logf("start %d took %s", i+1, time.Since(began))
		resp, err := e.Client().Get(t.Context(), "key")
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		for _, kv := range resp.Kvs {
			have = len(kv.Value)
		}
		if have != i*1000 {
			t.Errorf("start %d found %d bytes, want %d", i+1, have, i*1000)
		}
		if _, err := e.Client().Put(t.Context(), "key", strings.Repeat("x", (i+1)*1000)); err != nil {
			t.Fatal(err)
		}
		closeEtcd(t, e)
	}
}

func TestDirIsPrivate(t *testing.T) {
	dir := fixture.ShortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, embedded.Config{Dir: dir})
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %s", info.Mode())
	}
}

// Also names that a URL would cut or decode must reach the socket.
func TestSocket(t *testing.T) {
	for _, name := range []string{
		"plain", "a b", "100%", "%41", "a?b", "a#b", "ü", "a:b", "@a", "a+b&c", "it's", `a\b`, "[a]", "a,b",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(fixture.ShortDir(t), name)
			e := start(t, embedded.Config{Dir: dir})
			if _, err := e.Client().Put(t.Context(), "name", name); err != nil {
				t.Fatal(err)
			}
			client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{etcd.Socket(dir)}, Log: fixture.Log(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			resp, err := client.Get(t.Context(), "name")
			if err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != name {
				t.Errorf("got %v, %v", resp, err)
			}
			if _, err := etcd.ReadSpace(t.Context(), client); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBusy(t *testing.T) {
	dir := fixture.ShortDir(t)
	e := start(t, embedded.Config{Dir: dir})
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Log: fixture.Log(t)})
	checkBusy(t, err, dir, os.Getpid())
	// The second start must not have taken the first one's socket away.
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{etcd.Socket(dir)}, Log: fixture.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	closeEtcd(t, e)
	start(t, embedded.Config{Dir: dir})
}

func checkBusy(t *testing.T, err error, dir string, pid int) {
	t.Helper()
	fixture.WantError(t, err, nil, fmt.Sprintf("etcd directory %s is in use by process %d", dir, pid),
		"use another directory")
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("%v is of the kind %d", err, fault.KindOf(err))
	}
}

func TestBusyOtherProcess(t *testing.T) {
	t.Parallel()
	dir := fixture.ShortDir(t)
	c := startChild(t, "serve", dir, "")
	c.line(t, "listening")
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Log: fixture.Log(t)})
	checkBusy(t, err, dir, c.Process.Pid)
}

func TestLongPath(t *testing.T) {
	root := fixture.ShortDir(t)
	fits := filepath.Join(root, strings.Repeat("d", 107-len(root)-len("//etcd.sock")))
	start(t, embedded.Config{Dir: fits})
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: fits + "d", Log: fixture.Log(t)})
	fixture.WantError(t, err, nil, fits+"d/etcd.sock is 108 bytes (limit 107)", "shorter path")
	checkReason(t, err, embedded.ReasonPathLong, "1")
	if _, err := os.Stat(fits + "d"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

func checkReason(t *testing.T, err error, want fault.Reason, wantAbout ...string) {
	t.Helper()
	if reason, about := fault.ReasonOf(err); reason != want || !slices.Equal(about, wantAbout) {
		t.Errorf("reason of %q is %q %q, want %q %q", err, reason, about, want, wantAbout)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	dir := fixture.ShortDir(t)
	for round := range 3 {
		c := startChild(t, "write", dir)
		c.line(t, "started")
		last := ""
		for range 50 + 100*round {
			last = c.line(t, "wrote ")
		}
		c.kill()
		e := start(t, embedded.Config{Dir: dir})
		n, err := strconv.Atoi(last)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for i := range n + 1 {
			keys = append(keys, fmt.Sprintf("key/%d", i))
		}
		exist, err := etcd.Exist(t.Context(), e.Client(), keys)
		if err != nil {
			t.Fatal(err)
		}
		for i, ok := range exist {
			if !ok {
				t.Errorf("round %d: %s was acknowledged and is gone", round, keys[i])
			}
		}
		closeEtcd(t, e)
	}
}

// A disk that takes no more must end in Done, not in etcd's own os.Exit.
func TestDiskFails(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"its files grow no more":   {nil, "file too large"},
		"it can write no snapshot": {[]string{"member/snap"}, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := startChild(t, "full disk", append([]string{fixture.ShortDir(t)}, c.args...)...)
			if said := child.line(t, "done run etcd: "); !strings.Contains(said, c.want) {
				t.Errorf("Done said %q", said)
			}
			const unreachable = "true etcd unreachable: the server's etcd cannot go on, and the server ends"
			if said := child.line(t, "get "); said != unreachable {
				t.Errorf("a request after that said %q", said)
			}
			if said := child.line(t, "put "); said != "true" {
				t.Error("another client's request was answered")
			}
			if said := child.line(t, "closed "); said != "true" {
				t.Error("Close took long")
			}
		})
	}
}

func TestStopsWhileRunning(t *testing.T) {
	e := start(t, embedded.Config{})
	e.HardStop()
	err, ok := <-e.Done()
	if !ok || !strings.Contains(err.Error(), "etcd stopped") {
		t.Errorf("got %v, %t", err, ok)
	}
	_, err = etcd.Exist(t.Context(), e.Client(), []string{"key"})
	fixture.WantError(t, err, etcd.ErrUnreachable, "the server's etcd cannot go on", "")
}

func TestDoneClosedByClose(t *testing.T) {
	e := start(t, embedded.Config{})
	closeEtcd(t, e)
	if err, ok := <-e.Done(); ok {
		t.Errorf("Done said %v", err)
	}
	closeEtcd(t, e)
}

func TestStartCancelled(t *testing.T) {
	dir := fixture.ShortDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := embedded.Start(ctx, embedded.Config{Dir: dir, Log: fixture.Log(t)})
	if err == nil { // ready before we looked
		closeEtcd(t, e)
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	start(t, embedded.Config{Dir: dir})
}

// Close must not wait for watches and keepalives of anybody, and leave nothing.
func TestCloseEndsStreams(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := fixture.ShortDir(t)
	e := start(t, embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	clients := []*clientv3.Client{e.Client()}
	for _, endpoint := range []string{etcd.Socket(dir), e.Addr()} {
		client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{endpoint}, Log: fixture.Log(t)})
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
	}
	var watches []clientv3.WatchChan
	for _, client := range clients {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(3600))
		if err != nil {
			t.Fatal(err)
		}
		if err := concurrency.NewMutex(session, fmt.Sprintf("lock/%p", client)).Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		watch := client.Watch(t.Context(), "key")
		watches = append(watches, watch)
	}
	if _, err := e.Client().Put(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	for i, watch := range watches {
		resp := <-watch
		if len(resp.Events) != 1 || string(resp.Events[0].Kv.Value) != "value" {
			t.Errorf("watch %d saw %v, %v", i, resp.Events, resp.Err())
		}
	}
	began := time.Now()
	closeEtcd(t, e)
	if took := time.Since(began); took > 5*time.Minute { // they are for an hour and for ever
		t.Errorf("Close took %s", took)
	}
	for _, client := range clients[1:] {
		client.Close()
	}
	for _, watch := range watches {
		for range watch { // until closed
		}
	}
	if err := fixture.Leaked(before); err != nil {
		t.Error(err)
	}
}

func TestKeepalive(t *testing.T) {
	t.Parallel()
	e := start(t, embedded.Config{})
	session, err := concurrency.NewSession(e.Client(), concurrency.WithTTL(12)) // a machine may stand still for some of them
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	alive, err := e.Client().KeepAlive(t.Context(), session.Lease())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // one at once, and one every third of the time that the lease has
		if resp := <-alive; resp == nil {
			t.Fatal("the keepalive ended")
		}
	}
	select {
	case <-session.Done():
		t.Error("the session ended")
	default:
	}
}

// A session on a lease ends at once when etcd fails, and not when the lease would have run out.
func TestKeepaliveEndsWithAFailure(t *testing.T) {
	t.Parallel()
	e := start(t, embedded.Config{})
	session, err := concurrency.NewSession(e.Client(), concurrency.WithTTL(600))
	if err != nil {
		t.Fatal(err)
	}
	e.Fail(errors.New("disk on fire"))
	select {
	case <-session.Done():
	case <-time.After(2 * time.Minute):
		t.Error("the session goes on")
	}
	if _, err := e.Client().KeepAlive(t.Context(), session.Lease()); err == nil {
		t.Error("a lease is kept alive after the failure")
	}
}
