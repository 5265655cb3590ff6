//go:build failpoint

package main

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// withFailpoint makes the process kill itself, as a power cut would, when it logs the step that REFSHIP_FAILPOINT
// names ("published", or "published:3" for the third time). With REFSHIP_FAILPOINT_FIFO it stops there instead, until
// that named pipe was opened for writing and closed again. Only tests build with the tag failpoint.
func withFailpoint(a *app, handler slog.Handler) slog.Handler {
	at, ok := a.getenv("REFSHIP_FAILPOINT")
	if !ok || at == "" {
		return handler
	}
	name, times, counted := strings.Cut(at, ":")
	left := new(atomic.Int64)
	left.Store(1)
	if n, err := strconv.ParseInt(times, 10, 64); counted && err == nil {
		left.Store(n)
	}
	fifo, _ := a.getenv("REFSHIP_FAILPOINT_FIFO")
	return &failpointHandler{Handler: handler, name: name, left: left, fifo: fifo}
}

type failpointHandler struct {
	slog.Handler
	name string
	left *atomic.Int64 // how many more times the step is logged
	fifo string        // "": the process is killed
}

func (h *failpointHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *failpointHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "step" {
		r.Attrs(func(attr slog.Attr) bool {
			if attr.Key == "at" && attr.Value.String() == h.name && h.left.Add(-1) == 0 {
				h.hit()
			}
			return true
		})
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h *failpointHandler) hit() {
	if h.fifo != "" {
		_, _ = os.ReadFile(h.fifo) // opening waits for the writer, reading for its end
		return
	}
	// Nothing after this line runs: SIGKILL cannot be caught.
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (h *failpointHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	other := *h
	other.Handler = h.Handler.WithAttrs(attrs)
	return &other
}

func (h *failpointHandler) WithGroup(name string) slog.Handler {
	other := *h
	other.Handler = h.Handler.WithGroup(name)
	return &other
}
