package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"refship/deploy/etcd/etcdtest"
)

// However many ask at once, whether for an answer or an error: it is found out once.
func TestCached(t *testing.T) {
	t.Parallel()
	for _, want := range []error{nil, errors.New("down")} {
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
		c.at = c.at.Add(-cacheTime)
		if got, err := c.get(); got != 2 || !errors.Is(err, want) {
			t.Errorf("when the answer is old: %d, %v", got, err)
		}
	}
}

// asked is what a probe answers.
func asked(h http.HandlerFunc, url string) (status int, body string) {
	answer := httptest.NewRecorder()
	h(answer, httptest.NewRequest(http.MethodGet, url, nil))
	return answer.Code, answer.Body.String()
}

// What an earlier run left behind may take long to put right; meanwhile the server lives, and is not ready.
func TestStarting(t *testing.T) {
	t.Parallel()
	dir := dataDir{path: t.TempDir()}
	h := newHealth(dir, etcdtest.New(t).Client())
	if status, body := asked(probe("livez", h.live()), "/livez"); status != 200 || body != "ok\n" {
		t.Errorf("livez: %d %s", status, body)
	}
	status, body := asked(probe("readyz", h.ready()), "/readyz")
	const want = "[+]ssh ok\n[+]hooks ok\n[+]etcd ok\n[+]etcd-space ok\n[+]etcd-write ok\n[+]disk ok\n" +
		"[-]serving failed: starting: what an earlier run left behind is being put right\nreadyz check failed\n"
	if status != 503 || body != want {
		t.Errorf("readyz: %d %s", status, body)
	}
	// The data directory's disk is gone, for all that can be seen.
	if err := os.Remove(dir.path); err != nil {
		t.Fatal(err)
	}
	if _, body := asked(probe("readyz", h.ready()), "/readyz"); !strings.Contains(body, "\n[-]disk failed: look at "+dir.path+": no such file or directory\n") {
		t.Errorf("readyz: %s", body)
	}
}

// A port that takes connections, where nobody answers them.
func TestDeafPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	h := newHealth(dataDir{path: t.TempDir()}, nil)
	h.serving(listener.Addr())
	checks := []check{{"ssh", h.checkSSH}}
	status, body := asked(probe("livez", checks), "/livez")
	if want := "[-]ssh failed: " + listener.Addr().String() + " takes connections and says nothing for 2s\nlivez check failed\n"; status != 503 || body != want {
		t.Errorf("%d %s", status, body)
	}
	// One that closes them, as a server does that has too many, is alive.
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	h.greets.at = h.greets.at.Add(-cacheTime)
	if status, body := asked(probe("livez", checks), "/livez"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	// At the end it may be closed: running pushes are not to be ended for that.
	listener.Close()
	h.stopping()
	h.greets.at = h.greets.at.Add(-cacheTime)
	if status, body := asked(probe("livez", checks), "/livez"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}
