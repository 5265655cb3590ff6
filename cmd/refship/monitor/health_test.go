package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/gitserver/repos"
)

// However many ask at once, whether for an answer or an error: it is found out once.
func TestCached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		testCached(t, nil)
		testCached(t, errors.New("down"))
	})
}

func testCached(t *testing.T, want error) {
	t.Helper()
	var asked atomic.Int32
	c := cached[int32]{ask: func(context.Context) (int32, error) { return asked.Add(1), want }}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if got, err := c.get(); got != 1 || !errors.Is(err, want) {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
	group.Wait()
	time.Sleep(cacheTime)
	if got, err := c.get(); got != 2 || !errors.Is(err, want) {
		t.Errorf("when the answer is old: %d, %v", got, err)
	}
}

// inTime is what probes answer that can answer: where the machine stood still for as long as they have, it asks again.
func inTime(h http.HandlerFunc, url string) (status int, body string) {
	for status, body = get(h, url); strings.Contains(body, "no answer within"); status, body = get(h, url) {
	}
	return status, body
}

// get is what probes answer.
func get(h http.HandlerFunc, url string) (status int, body string) {
	recorder := httptest.NewRecorder()
	h(recorder, httptest.NewRequest(http.MethodGet, url, nil))
	return recorder.Code, recorder.Body.String()
}

// What an earlier run left behind may take long to put right. Meanwhile the server lives, and is not ready.
func TestStarting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := newHealth(Config{
		DataDir: dir, Repos: repos.Dir{Path: filepath.Join(dir, "repos")},
		Store: deploy.NewStore(fixture.NewEtcd(t).Client(),
			deploy.Config{LeaseTTL: time.Minute, Log: slog.New(slog.DiscardHandler)}),
	})
	if status, body := inTime(answer("livez", h.live()), "/livez"); status != 200 || body != "ok\n" {
		t.Errorf("livez: %d %s", status, body)
	}
	status, body := inTime(answer("readyz", h.ready()), "/readyz")
	const want = "[+]ssh ok\n[+]hooks ok\n[+]etcd ok\n[+]etcd-space ok\n[+]etcd-write ok\n[+]disk ok\n" +
		"[-]serving failed: starting: finishing what an earlier run left behind\nreadyz check failed\n"
	if status != 503 || body != want {
		t.Errorf("readyz: %d %s", status, body)
	}
	// The data directory's disk is gone, for all that can be seen.
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	h.written.last.at = h.written.last.at.Add(-cacheTime)
	_, body = inTime(answer("readyz", h.ready()), "/readyz")
	if !strings.Contains(body, "\n[-]disk failed: look at the data directory's disk: statfs "+dir+": no such file") {
		t.Errorf("readyz: %s", body)
	}
}

// What pushes bring must be stored, too.
func TestRepositoryThatStoresNothing(t *testing.T) {
	t.Parallel()
	h := newHealth(Config{DataDir: t.TempDir()})
	trouble := errors.New("repository config cannot store what is pushed: read-only file system")
	h.server.Store(&Server{Storage: func() error { return trouble }})
	readyz := answer("readyz", []probe{{"disk", h.probeDisk}})
	if status, body := inTime(readyz, "/readyz"); status != 503 ||
		!strings.Contains(body, "[-]disk failed: "+trouble.Error()) {
		t.Errorf("%d %s", status, body)
	}
	trouble = nil
	h.written.last.at = h.written.last.at.Add(-cacheTime)
	if status, body := inTime(readyz, "/readyz"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

// What hangs, and knows no context, makes no answer late. It is asked once until it comes back.
func TestHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		goOn := make(chan struct{})
		hang := func() {
			asked.Add(1)
			<-goOn
		}
		h := newHealth(Config{})
		h.etcd.ask = func(context.Context) (none struct{}, err error) {
			hang()
			return none, nil
		}
		h.permissions.ask = func(context.Context) (permissions, error) {
			hang()
			return permissions{}, nil
		}
		readyz := answer("readyz", []probe{{"etcd", h.probeEtcd}, {"etcd-write", h.probeWrite}})
		for range 3 {
			began := time.Now()
			status, body := get(readyz, "/readyz")
			const want = "[-]etcd failed: no answer within 2s\n" +
				"[-]etcd-write failed: unknown while etcd fails\nreadyz check failed\n"
			if status != 503 || body != want {
				t.Errorf("readyz: %d %s", status, body)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("readyz took %s", took)
			}
			time.Sleep(2 * cacheTime)
		}
		if asked.Load() != 2 {
			t.Errorf("etcd was asked %d times", asked.Load())
		}
		close(goOn)
		synctest.Wait()
		if status, body := get(readyz, "/readyz"); status != 200 {
			t.Errorf("readyz: %d %s", status, body)
		}
	})
}

// A port that takes connections, and nothing answers them.
func TestDeafPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	h := newHealth(Config{})
	h.server.Store(&Server{Addr: listener.Addr()})
	livez := answer("livez", []probe{{"ssh", h.probeSSH}})
	status, body := inTime(livez, "/livez")
	want := "[-]ssh failed: " + listener.Addr().String() +
		" accepts connections and sends nothing for 2s\nlivez check failed\n"
	if status != 503 || body != want {
		t.Errorf("%d %s", status, body)
	}
	// A port that closes them, as a server does that has too many, is alive.
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	fixture.Eventually(t, func() bool { // a machine may stand still while the port is asked
		h.ssh.last.at = h.ssh.last.at.Add(-cacheTime)
		status, _ := inTime(livez, "/livez")
		return status == 200
	})
	// At the end the port may be closed: running pushes are not to be ended for that.
	listener.Close()
	h.stopping.Store(true)
	h.ssh.last.at = h.ssh.last.at.Add(-cacheTime)
	if status, body := inTime(livez, "/livez"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

// With warnings the server is ready, and ?verbose tells them.
func TestWarnings(t *testing.T) {
	t.Parallel()
	probes := []probe{
		{"write", func() error { return fmt.Errorf("so: %w", warnings{errors.New("/a\x1b"), errors.New("/b")}) }},
		{"other", func() error { return nil }},
	}
	readyz := answer("readyz", probes)
	if status, body := get(readyz, "/readyz"); status != 200 || body != "ok\n" {
		t.Errorf("%d %s", status, body)
	}
	const lines = "[!]write warning: /a\\x1b\n[!]write warning: /b\n"
	if status, body := get(readyz, "/readyz?verbose"); status != 200 || body != lines+
		"[+]other ok\nreadyz check passed\n" {
		t.Errorf("%d %s", status, body)
	}
	probes[1].run = func() error { return errors.New("no") }
	if status, body := get(readyz, "/readyz"); status != 503 || body != lines+
		"[-]other failed: no\nreadyz check failed\n" {
		t.Errorf("%d %s", status, body)
	}
}
