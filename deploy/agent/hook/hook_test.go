package hook_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"refship/deploy/agent/hook"
	"refship/deploy/fixture"
)

func TestMain(m *testing.M) { fixture.Main(m) }

var release = &hook.Release{ID: 7, Hash: "0123", Previous: "4567", Chain: "/refship/site"}

// command runs a line for release in a directory of its own.
func command(t *testing.T, ctx context.Context, line string, change ...func(*hook.Command)) (said []string, err error) {
	t.Helper()
	c := &hook.Command{Line: line, Env: []string{"PATH=" + os.Getenv("PATH"), "HASH=of the environment"}}
	var mu sync.Mutex
	c.Tell = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, line)
	}
	for _, fn := range change {
		fn(c)
	}
	r := *release
	r.Dir = t.TempDir()
	err = c.Run(ctx, &r)
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(said), err
}

func TestCommand(t *testing.T) {
	said, err := command(t, t.Context(), `echo $HASH $GITSYNC_HASH $PREV_HASH $ID $CHAIN; test "$PWD" = "$(pwd)" || echo no
printf 'a\033[31mb\tc'`)
	if want := []string{"0123 0123 4567 7 /refship/site", `a\x1b[31mb    c`}; err != nil || !slices.Equal(said, want) {
		t.Errorf("said %q, %v, want %q", said, err, want)
	}
	said, err = command(t, t.Context(), "echo out; echo nginx: bad >&2; exit 3")
	if err == nil || err.Error() != "exit status 3: nginx: bad" || len(said) != 2 {
		t.Errorf("said %q, %v", said, err)
	}
	said, err = command(t, t.Context(), "head -c 100000 /dev/zero | tr '\\0' x")
	if err != nil || len(said) != 1 || len(said[0]) != 2000 {
		t.Errorf("said %d lines, %v", len(said), err)
	}
}

// Time is over for all that a command has started, also for what ignores the first signal.
func TestCommandEnds(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	line := `sh -c 'trap "" TERM; echo $$ >>` + pids + `; while :; do sleep 0.1; done' & echo $$ >>` + pids +
		`; echo started; wait`
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the node ends")
	_, err := command(t, ctx, line, func(c *hook.Command) {
		tell := c.Tell
		c.Tell = func(said string) {
			tell(said)
			fixture.Eventually(t, func() bool {
				text, _ := os.ReadFile(pids) // it may not be there yet
				return strings.Count(string(text), "\n") == 2
			})
			cancel(cause)
		}
	})
	if !errors.Is(err, cause) {
		t.Errorf("error is %v", err)
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(text)) {
		fixture.Eventually(t, func() bool {
			state, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(state), ") Z ")
		})
	}
	_, err = command(t, t.Context(), "sleep 1000", func(c *hook.Command) { c.Timeout = 50 * time.Millisecond })
	if err == nil || err.Error() != "it took longer than 50ms" {
		t.Errorf("error is %v", err)
	}
}

// What a command leaves in the background goes on.
func TestCommandLeavesSomething(t *testing.T) {
	t.Parallel()
	said, err := command(t, t.Context(), "sleep 1000 >/dev/null 2>&1 & echo $!")
	if err != nil || len(said) != 1 {
		t.Fatalf("said %q, %v", said, err)
	}
	var pid int
	for _, digit := range said[0] {
		pid = 10*pid + int(digit-'0')
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func TestWebhook(t *testing.T) {
	status := http.StatusOK
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Gitsync-Hash")+" "+r.Header.Get("Refship-Id"))
		w.WriteHeader(status)
		_, _ = w.Write([]byte("no\x1b room\nmore")) // the client may have enough
	}))
	defer server.Close()
	w := &hook.Webhook{URL: server.URL + "/hook", Method: "PUT", Status: http.StatusOK, Timeout: time.Minute}
	if err := w.Run(t.Context(), release); err != nil || !slices.Equal(got, []string{"PUT /hook 0123 7"}) {
		t.Errorf("got %q, %v", got, err)
	}
	status = http.StatusTeapot
	want := `the answer is 418 I'm a teapot, not 200: no\x1b room`
	if err := w.Run(t.Context(), release); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	w.Status = 0
	if err := w.Run(t.Context(), release); err != nil {
		t.Error(err)
	}
	// A redirect with another method is no success: what was to be told has not been told.
	for code, want := range map[int]string{
		http.StatusTemporaryRedirect: "", http.StatusFound: "the answer is 302 Found, not 200",
	} {
		status, got = http.StatusOK, nil
		moved := httptest.NewServer(http.RedirectHandler(server.URL+"/hook", code))
		w := &hook.Webhook{URL: moved.URL, Method: "POST", Status: http.StatusOK, Timeout: time.Minute}
		err := w.Run(t.Context(), release)
		moved.Close()
		switch {
		case want == "" && err == nil && slices.Equal(got, []string{"POST /hook 0123 7"}):
		case want != "" && err != nil && err.Error() == want && got == nil:
		default:
			t.Errorf("%d: got %q, %v", code, got, err)
		}
	}
	stuck := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck }))
	defer slow.Close()
	defer close(stuck)
	w = &hook.Webhook{URL: slow.URL, Method: "POST", Timeout: 50 * time.Millisecond}
	if err := w.Run(t.Context(), release); err == nil || err.Error() != "no answer within 50ms" {
		t.Errorf("error is %v", err)
	}
}

// A hook that fails is run again, and only for the newest release.
func TestRunner(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan *hook.Release)
	outcome := make(chan error)
	var mu sync.Mutex
	var counts []bool
	r := hook.NewRunner("exechook", func(_ context.Context, r *hook.Release) error {
		ran <- r
		return <-outcome
	}, time.Millisecond, func(_ *hook.Release, err error) {
		mu.Lock()
		defer mu.Unlock()
		counts = append(counts, err == nil)
	}, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	failed := errors.New("not yet")
	step := func(id uint64, result error) {
		t.Helper()
		if got := <-ran; uint64(got.ID) != id {
			t.Errorf("it ran for %d, want %d", got.ID, id)
		}
		outcome <- result
	}
	r.Send(&hook.Release{ID: 1})
	step(1, failed)
	if got := <-ran; got.ID != 1 {
		t.Errorf("it ran for %d", got.ID)
	}
	r.Send(&hook.Release{ID: 2})
	r.Send(&hook.Release{ID: 3}) // while it runs for 1
	outcome <- failed
	// By chance it tries 1 once more first.
	got := <-ran
	for got.ID == 1 {
		outcome <- failed
		got = <-ran
	}
	if got.ID != 3 {
		t.Errorf("it ran for %d, want 3", got.ID)
	}
	outcome <- nil
	r.Send(&hook.Release{ID: 4})
	step(4, nil)
	cancel()
	<-done
	mu.Lock()
	defer mu.Unlock()
	if n := len(counts); n < 4 || !counts[n-1] || !counts[n-2] || slices.Contains(counts[:n-2], true) {
		t.Errorf("counted %v", counts)
	}
}
