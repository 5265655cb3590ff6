package notify_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"refship/deploy/fixture"
	"refship/deploy/webhook"
	"refship/hooks/notify"
	"refship/hooks/target"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// receiver is a real HTTP server that keeps what it is asked.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(w http.ResponseWriter, nth int) // nil: 200
	asked  []asked
}

type asked struct {
	event, delivery, signature string
	body                       string
}

func newReceiver(t testing.TB, answer func(w http.ResponseWriter, nth int)) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.asked = append(r.asked, asked{
			req.Header.Get(notify.EventHeader), req.Header.Get(notify.DeliveryHeader),
			req.Header.Get(webhook.SignatureHeader), string(body),
		})
		nth := len(r.asked)
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, nth)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func (r *receiver) ids() (ids []string) {
	for _, a := range r.all() {
		ids = append(ids, a.delivery)
	}
	return ids
}

// setup is a Notifier with a clock of its own, and a target that tells one receiver.
type setup struct {
	*notify.Notifier
	at     notify.Place
	to     target.Receiver
	log    *strings.Builder
	now    time.Time
	pauses []time.Duration
}

func newSetup(t testing.TB, url string) *setup {
	t.Helper()
	s := &setup{now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), log: new(strings.Builder)}
	s.at = notify.Place{Repository: "site", GitDir: t.TempDir(), Target: target.Target{
		Name: "default", Ref: "refs/heads/main", Namespace: "/refship/site", Notify: target.Notify(url),
	}}
	receivers, err := s.at.Target.Notify.Receivers()
	if err != nil {
		t.Fatal(err)
	}
	s.to = receivers[0]
	s.start()
	return s
}

// start makes a new Notifier, as a new process does.
func (s *setup) start() {
	s.Notifier = notify.New(notify.Config{Agent: "refship/test", Log: slog.New(slog.NewTextHandler(s.log, nil))})
	s.SetClock(func() time.Time { return s.now }, func(_ context.Context, d time.Duration) {
		s.now = s.now.Add(d)
		if d > 0 {
			s.pauses = append(s.pauses, d)
		}
	}, func() float64 { return 0.5 })
}

// add queues events, and gives their ids.
func (s *setup) add(t testing.TB, n int) (ids []string) {
	t.Helper()
	for range n {
		e := notify.NewTest(s.at, "ada")
		if err := s.Add(s.at, e, true); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// A receiver that is down for a time hears all of it later, in order, as the deliveries that were tried before.
func TestDownForATime(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, nth int) {
		if nth <= 20 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s := newSetup(t, r.URL)
	ids := s.add(t, 3)
	s.Deliver(t.Context(), s.at)
	want := slices.Concat(slices.Repeat(ids[:1], 21), ids[1:])
	if got := r.ids(); !slices.Equal(got, want) {
		t.Fatalf("deliveries are %q, want %q", got, want)
	}
	secret, err := notify.Secret(s.at, s.to)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range r.all() {
		if !webhook.Verify(secret, []byte(a.body), a.signature) || a.event != "test" ||
			!strings.Contains(a.body, `"id":"`+a.delivery+`"`) {
			t.Errorf("asked %+v", a)
		}
	}
	if s.pauses[0] != notify.FirstPause*3/4 || s.pauses[19] != notify.LastPause*3/4 || !slices.IsSorted(s.pauses) {
		t.Errorf("pauses are %s", s.pauses)
	}
	if got := s.Stats(); got.Delivered != 3 || got.Failed != 20 || got.GivenUp != 0 || got.Waiting != 0 ||
		got.LastSuccess != s.now {
		t.Errorf("stats are %+v", got)
	}
}

// After a day an event is given up, and the next one is tried.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusNotFound) })
	s := newSetup(t, r.URL+"/hidden")
	first, began := s.add(t, 1), s.now
	s.now = s.now.Add(notify.KeepFor / 2)
	s.add(t, 1)
	s.now = began
	s.Deliver(t.Context(), s.at)
	if took := s.now.Sub(began); took != notify.KeepFor*3/2 {
		t.Errorf("it took %s", took)
	}
	if got := s.Stats(); got.GivenUp != 2 || got.Waiting != 0 || !got.LastSuccess.IsZero() {
		t.Errorf("stats are %+v", got)
	}
	said := s.log.String()
	if strings.Count(said, "level=ERROR") != 2 || !strings.Contains(said, first[0]) || strings.Contains(said, "hidden") {
		t.Errorf("the log is\n%s", said)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, nth int) {
		w.Header().Set("Retry-After", map[int]string{1: "600", 2: "60000", 3: "-1"}[nth])
		if nth <= 3 {
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	s := newSetup(t, r.URL)
	s.add(t, 1)
	s.Deliver(t.Context(), s.at)
	want := []time.Duration{10 * time.Minute, notify.LastPause, 15 * time.Second}
	if !slices.Equal(s.pauses, want) {
		t.Errorf("pauses are %s, want %s", s.pauses, want)
	}
}

// A body goes nowhere but to the URL that the operator gave.
func TestRedirect(t *testing.T) {
	t.Parallel()
	other := newReceiver(t, nil)
	r := newReceiver(t, func(w http.ResponseWriter, nth int) {
		if nth == 1 {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	s := newSetup(t, r.URL)
	s.add(t, 1)
	s.Deliver(t.Context(), s.at)
	if len(other.all()) != 0 || len(r.all()) != 2 {
		t.Errorf("the other one was asked %q", other.all())
	}
}

// What a dead process left is delivered by the next one; what it had delivered and not yet taken out comes again, as
// the same delivery.
func TestKilled(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	s := newSetup(t, r.URL)
	ids := s.add(t, 2)
	dir := notify.QueueDir(s.at, s.to)
	names, _ := s.Waiting(s.at, s.to)
	delivered, err := os.ReadFile(filepath.Join(dir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	s.Deliver(t.Context(), s.at)
	if err := os.WriteFile(filepath.Join(dir, names[0]), delivered, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "."+names[1]+".1.refship-tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A file that cannot be an entry, and one that a power cut has emptied, are in nobody's way.
	for _, name := range []string{"00000000000000000000-x", "junk", "00000000000000000009-junk"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	ids = append(ids, ids[0])
	ids = append(ids, s.add(t, 1)...)
	s.Deliver(t.Context(), s.at)
	if got := r.ids(); !slices.Equal(got, ids) {
		t.Errorf("deliveries are %q, want %q", got, ids)
	}
	if got := s.Stats(); got.Waiting != 0 || got.GivenUp != 1 {
		t.Errorf("stats are %+v", got)
	}
}

// A queue is bounded: the newest events stay. One that is there is not queued again, and what anybody may cause takes no
// more than half.
func TestBounded(t *testing.T) {
	t.Parallel()
	const maxEntries, maxBytes = 20, 100_000
	s := newSetup(t, "http://127.0.0.1:1/")
	s.Limit(s.at, s.to, maxEntries, maxBytes)
	e := notify.NewTest(s.at, "ada")
	for range 3 {
		if err := s.Add(s.at, e, false); err != nil {
			t.Fatal(err)
		}
	}
	if names, _ := s.Waiting(s.at, s.to); len(names) != 1 {
		t.Errorf("waiting are %q", names)
	}
	var err error
	for n := 1; err == nil; n++ {
		err = s.Add(s.at, notify.NewTest(s.at, "ada"), false)
		if err == nil && n >= maxEntries/2 {
			t.Fatalf("%d events are queued that anybody may cause", n+1)
		}
	}
	if !strings.Contains(err.Error(), notify.ErrCrowded.Error()) {
		t.Errorf("error is %v", err)
	}
	last := s.add(t, maxEntries)
	names, _ := s.Waiting(s.at, s.to)
	if len(names) != maxEntries || !strings.HasSuffix(names[0], last[0]) ||
		!strings.HasSuffix(names[len(names)-1], last[len(last)-1]) {
		t.Errorf("%d are waiting, from %s", len(names), names[0])
	}
	if got := s.Stats(); got.GivenUp != maxEntries/2 {
		t.Errorf("stats are %+v", got)
	}
	large := notify.NewTest(s.at, "ada")
	large.Reason = strings.Repeat("x", maxBytes/2)
	for i := range 3 {
		large.ID = fmt.Sprint("large", i)
		if err := s.Add(s.at, large, true); err != nil {
			t.Fatal(err)
		}
	}
	if names, bytes := s.Waiting(s.at, s.to); bytes > maxBytes || len(names) != 1 ||
		!strings.HasSuffix(names[0], "large2") {
		t.Errorf("%q are waiting, %d bytes", names, bytes)
	}
}

// A disk that takes nothing is an error for the one who adds, and a repository that is gone stays gone.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	s := newSetup(t, "http://127.0.0.1:1/")
	if err := os.WriteFile(filepath.Join(s.at.GitDir, "refship"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(s.at, notify.NewTest(s.at, "ada"), true); err == nil {
		t.Error("an event is queued in a file")
	}
	if err := os.RemoveAll(s.at.GitDir); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(s.at, notify.NewTest(s.at, "ada"), true); err == nil {
		t.Error("an event is queued in a repository that is not there")
	}
	if _, err := os.Stat(s.at.GitDir); err == nil {
		t.Error("the repository was made")
	}
}

// Each URL of each target has a secret of its own, until it is renewed.
func TestSecret(t *testing.T) {
	t.Parallel()
	s := newSetup(t, "https://a.example.com/,https://b.example.com/")
	receivers, err := s.at.Target.Notify.Receivers()
	if err != nil {
		t.Fatal(err)
	}
	other := s.at
	other.Target.Name = "other"
	read := func() (all []string) {
		for _, at := range []notify.Place{s.at, other} {
			for _, to := range receivers {
				secret, err := notify.Secret(at, to)
				if err != nil || len(secret) != 64 || slices.Contains(all, secret) {
					t.Errorf("secret is %s of %s, %v", secret, all, err)
				}
				all = append(all, secret)
			}
		}
		return all
	}
	results := make([][]string, 8) // all of them make the seed
	var readers sync.WaitGroup
	for i := range results {
		readers.Go(func() { results[i] = read() })
	}
	readers.Wait()
	for _, got := range results {
		if !slices.Equal(got, results[0]) {
			t.Fatalf("secrets are %s", results)
		}
	}
	info, err := os.Stat(filepath.Join(s.at.GitDir, "refship", "notify", "secret"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if err := notify.Renew(s.at.GitDir); err != nil {
		t.Fatal(err)
	}
	for i, secret := range read() {
		if secret == results[0][i] {
			t.Errorf("secret %d is the old one", i)
		}
	}
}
