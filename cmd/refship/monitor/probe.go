package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	// probeTime bounds a probe of something that may not answer.
	probeTime = 2 * time.Second
	// lateTime is how much later than that an answer may come.
	lateTime = 200 * time.Millisecond
	// cacheTime is how long an answer is used again: etcd is asked this often, no matter how many clients ask.
	cacheTime = time.Second
)

// probe is one thing that must be in order.
type probe struct {
	name string
	run  func() error // warnings, if only a part is not in order
}

// warnings are a probe's error about a part that the server can do without.
type warnings []error

func (w warnings) Error() string { return errors.Join(w...).Error() }

// answer runs probes at the same time and answers in the manner of etcd's and Kubernetes' own endpoints: 200, or 503
// with what failed and why. With ?verbose it lists what passed, and warnings, too.
func answer(name string, probes []probe) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		results := make([]error, len(probes))
		var running sync.WaitGroup
		for i, p := range probes {
			running.Go(func() { results[i] = p.run() })
		}
		running.Wait()
		var lines strings.Builder
		failed := false
		for i, p := range probes {
			failed = writeResult(&lines, p.name, results[i]) || failed
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case failed:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "%s%s check failed\n", lines.String(), name)
		case r.URL.Query().Has("verbose"):
			fmt.Fprintf(w, "%s%s check passed\n", lines.String(), name)
		default:
			_, _ = io.WriteString(w, "ok\n") // a client that is gone hears nothing
		}
	}
}

// writeResult writes the lines of one probe, and tells whether it failed.
func writeResult(w io.Writer, name string, err error) (failed bool) {
	var some warnings
	switch {
	case err == nil:
		fmt.Fprintf(w, "[+]%s ok\n", name)
	case errors.As(err, &some):
		for _, warning := range some {
			fmt.Fprintf(w, "[!]%s warning: %s\n", name, text.Printable(warning.Error()))
		}
	default:
		reason := strings.ReplaceAll(err.Error(), "\n", "; ")
		fmt.Fprintf(w, "[-]%s failed: %s\n", name, text.Printable(reason))
		return true
	}
	return false
}

// cached keeps what ask gave for cacheTime, errors too. It waits for ask no longer than probeTime, also where that
// hangs past its context: then it does not ask again until that has come back.
type cached[T any] struct {
	ask func(context.Context) (T, error)

	mu   sync.Mutex
	last *question[T] // nil: there was none
}

// question is one call of ask.
type question[T any] struct {
	asked    time.Time
	answered chan struct{} // closed when the next three are there
	at       time.Time
	value    T
	err      error
}

func (c *cached[T]) get() (value T, err error) {
	q := c.latest()
	select {
	case <-q.answered:
	case <-time.After(time.Until(q.asked.Add(probeTime + lateTime))):
		if !q.isAnswered() {
			return value, fault.New(fault.Unavailable, fmt.Sprintf("no answer within %s", probeTime), "")
		}
	}
	return q.value, q.err
}

// latest is the last question, or a new one where the answer is old.
func (c *cached[T]) latest() *question[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || c.last.isAnswered() && time.Since(c.last.at) >= cacheTime {
		c.last = &question[T]{asked: time.Now(), answered: make(chan struct{})}
		go c.last.answer(c.ask)
	}
	return c.last
}

func (q *question[T]) isAnswered() bool {
	select {
	case <-q.answered:
		return true
	default:
		return false
	}
}

func (q *question[T]) answer(ask func(context.Context) (T, error)) {
	// Not the context of one request: other requests get the same answer.
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	q.value, q.err = ask(ctx)
	q.at = time.Now()
	close(q.answered)
}
