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

	"refship/deploy/text"
)

const (
	// probeTime bounds a probe of something that may not answer.
	probeTime = 2 * time.Second
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

// cached keeps what ask gave for cacheTime, errors too.
type cached[T any] struct {
	ask func(context.Context) (T, error)

	mu    sync.Mutex
	at    time.Time
	value T
	err   error
}

func (c *cached[T]) get() (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= cacheTime {
		// Not the context of one request: other requests get the same answer.
		ctx, cancel := context.WithTimeout(context.Background(), probeTime)
		defer cancel()
		c.value, c.err = c.ask(ctx)
		c.at = time.Now()
	}
	return c.value, c.err
}
