package web_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"refship/deploy/record"
	"refship/gitserver/web"
)

// events opens a stream, and gives what comes: it is closed with the stream.
func (s *site) events(path string) (lines <-chan string, end func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	all, opened := make(chan string, 1000), make(chan error, 1)
	go func() {
		defer close(all)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			opened <- err
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
			err = fmt.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
		opened <- err
		for scanner := bufio.NewScanner(resp.Body); scanner.Scan(); {
			if strings.HasPrefix(scanner.Text(), "event: ") {
				all <- scanner.Text()
			}
		}
	}()
	if err := <-opened; err != nil {
		s.Fatal(err)
	}
	return all, cancel
}

// wantEvent waits for an event.
func (s *site) wantEvent(lines <-chan string) {
	s.Helper()
	if line, open := <-lines; !open || line != "event: changed" {
		s.Fatalf("%q, %v", line, open)
	}
}

// wantUntil loads a page after each event until it has a text.
func (s *site) wantUntil(lines <-chan string, path, text string) {
	s.Helper()
	for !strings.Contains(s.page(path), text) {
		s.wantEvent(lines)
	}
}

// A push is seen while it runs, a deploy when it is published, and nodes when they have reported.
func TestLive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ofChain, end := s.events("/events?chain=config:default")
	defer end()
	ofAll, endAll := s.events("/events")
	defer endAll()
	s.wantEvent(ofChain) // the watch has begun
	push := web.Push{
		Key: 1, Namespace: s.Namespace, Repository: "config", Target: "default", By: "bob",
		Hash: record.Hash(strings.Repeat("a", 40)),
	}
	for _, phase := range []web.Phase{web.Checking, web.Storing, web.Publishing} {
		push.Phase = phase
		s.web.Push(push)
		want := fmt.Sprintf(`<span class="phase">%s</span>  <code>aaaaaaa</code>`, phase)
		s.wantUntil(ofChain, config+"?part=live", want)
		s.wantUntil(ofAll, "/?part=live", want)
	}
	d := s.push("first", map[string]string{"a": "1"})
	s.wantUntil(ofChain, config+"?part=live", "first")
	s.wantUntil(ofAll, "/?part=live", "first")
	push.Phase, push.ID = web.Published, d.ID
	s.web.Push(push)
	s.wantUntil(ofChain, config+"?part=live", `<span class="phase">published</span>`)
	for i := range 3 {
		s.node(fmt.Sprint("n", i), "", d, record.NodeRunning)
		s.wantUntil(ofChain, config+"?part=live", fmt.Sprintf("%d of %d node", i+1, i+1))
		s.wantUntil(ofAll, "/?part=live", fmt.Sprintf("%d of %d node", i+1, i+1))
	}
	if page := s.page(config + "/-/deploy/1?part=live"); !strings.Contains(page, "3 of 3 nodes") {
		t.Error(page)
	}
}

// A stream tells nothing of what its viewer may not read, and ends when that changes.
func TestStreamEndsWithTheRule(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	of := web.Push{Key: 1, Namespace: "/refship/secret", By: "bob", Phase: web.Checking}
	s.web.Push(of)
	if page := s.page("/"); strings.Contains(page, "checking") {
		t.Errorf("a push to a hidden chain is on\n%s", page)
	}
	for _, path := range []string{"/events", "/events?chain=config:default"} {
		for name, change := range map[string]func(){
			"the rule":  func() { s.hidden["config"] = true },
			"the login": func() { s.viewer = fmt.Errorf("logged out") },
		} {
			lines, end := s.events(path)
			s.set(change)
			s.web.Push(web.Push{Key: 2, Namespace: s.Namespace, Phase: web.Checking})
			for line := range lines { // events from before may be there
				if line != "event: changed" {
					t.Errorf("%s, without %s: %s", path, name, line)
				}
			}
			end()
			s.set(func() { s.hidden["config"], s.viewer = false, nil })
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const ofOne = 10
	for range ofOne {
		_, end := s.events("/events?chain=config:default")
		defer end()
	}
	status, _, h := s.do(http.MethodGet, "/events?chain=config:default")
	if status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
		t.Error(status, h)
	}
}

func TestPushesAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for i := range 300 {
		s.web.Push(web.Push{Key: uint64(i), Namespace: s.Namespace, By: fmt.Sprint("user", i), Phase: web.Checking})
	}
	page := s.page(config)
	if n := strings.Count(page, `class="phase"`); n != 100 {
		t.Errorf("%d pushes are remembered", n)
	}
	s.wantAll(page, "user299", "user200")
	// Of those that have ended in the same way, the last one is enough.
	s.web.Push(web.Push{Key: uint64(298), Namespace: s.Namespace, By: "user298", Phase: web.Published, ID: 1})
	s.web.Push(web.Push{Key: uint64(299), Namespace: s.Namespace, By: "user299", Phase: web.Published, ID: 2})
	page = s.page(config)
	if n := strings.Count(page, `class="phase"`); n != 99 {
		t.Errorf("%d pushes are shown", n)
	}
	s.wantAll(page, "user299", "user297")
	if strings.Contains(page, "at the head") {
		t.Error("there are no nodes, and it is said where they are")
	}
	var none *web.Web
	none.Push(web.Push{}) // a server without pages has none
}

// A stream, and a download, outlive the time that the server gives to requests.
func TestStreamOutlivesTimeouts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	server := httptest.NewUnstartedServer(s.web)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	s.url = server.URL
	lines, end := s.events("/events?chain=config:default")
	defer end()
	// The server hangs up on who says nothing, when that time is over.
	for range 3 {
		silent, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if n, err := silent.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Fatal(n, err)
		}
	}
	s.web.Push(web.Push{Key: 1, Namespace: s.Namespace, Phase: web.Checking})
	s.wantEvent(lines)
	d := s.push("first", map[string]string{"a": "1"})
	for range 2 {
		s.wantEvent(lines)
		s.node("n", "", d, record.NodeRunning)
	}
}
