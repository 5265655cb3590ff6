package hooks

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"refship/deploy"
)

// writeTimeout is how long a hook may leave what it is told unread before it counts as gone.
const writeTimeout = 10 * time.Second

// speaker tells the pusher what happens, a line at a time. Safe for concurrent use.
type speaker struct {
	every time.Duration

	mu   sync.Mutex
	conn net.Conn
	gone func(error) // called when nobody listens any more
}

// line says one line. Text from outside in it can do nothing to a terminal.
func (s *speaker) line(text string, args ...any) {
	s.send(frameOutput, []byte("refship: "+deploy.Printable(fmt.Sprintf(text, args...))+"\n"))
}

func (s *speaker) exit(status byte) { s.send(frameExit, []byte{status}) }

func (s *speaker) send(kind byte, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return
	}
	s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := writeFrame(s.conn, kind, payload); err != nil {
		s.conn = nil
		s.gone(fmt.Errorf("tell the hook: %w", err))
	}
}

// during runs fn, and in regular intervals says how far it is, also if fn itself tells nothing.
func (s *speaker) during(label, step string, fn func(progress func(deploy.Progress)) error) error {
	var mu sync.Mutex
	last := deploy.Progress{Step: step}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(s.every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				mu.Lock()
				text := describe(last)
				mu.Unlock()
				s.line("%s%s", label, text)
			}
		}
	}()
	defer func() {
		close(stop)
		<-done
	}()
	return fn(func(p deploy.Progress) {
		mu.Lock()
		defer mu.Unlock()
		last = p
	})
}

// describe puts progress into words: "reading 412 of 812 files", "storing 3.1 MiB of 20 MiB".
func describe(p deploy.Progress) string {
	var parts []string
	switch {
	case p.FilesTotal > 0:
		parts = append(parts, fmt.Sprintf("%d of %s", p.Files, deploy.Count(p.FilesTotal, "file")))
	case p.Files > 0:
		parts = append(parts, deploy.Count(p.Files, "file"))
	}
	switch {
	case p.BytesTotal > 0:
		parts = append(parts, deploy.Bytes(p.Bytes)+" of "+deploy.Bytes(p.BytesTotal))
	case p.Bytes > 0:
		parts = append(parts, deploy.Bytes(p.Bytes))
	}
	if len(parts) == 0 {
		return p.Step + " …"
	}
	return p.Step + " " + strings.Join(parts, ", ")
}

// explain puts an error into lines: "refused: …" or "pushed, not deployed: …", and its hint.
func explain(verb string, err error) []string {
	var lines []string
	var all refusals
	if errors.As(err, &all) {
		for _, e := range all {
			lines = append(lines, explain(verb, e)...)
		}
		return lines
	}
	var conflict *deploy.ConflictError
	if errors.As(err, &conflict) {
		lines = append(lines, verb+": "+conflict.At(), conflict.Why)
	} else {
		lines = append(lines, verb+": "+err.Error())
	}
	if hint := hintOf(err); hint != "" {
		lines = append(lines, "hint: "+hint)
	}
	return lines
}

// hintOf finds the remedy that an error carries.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// refusals are all reasons why a push is refused.
type refusals []error

func (r refusals) Error() string {
	var texts []string
	for _, e := range r {
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "; ")
}

func (r refusals) Unwrap() []error { return r }

// add takes err in, unless it is nil or the same was said already.
func (r *refusals) add(err error) {
	if err == nil {
		return
	}
	for _, e := range *r {
		if e.Error() == err.Error() {
			return
		}
	}
	*r = append(*r, err)
}

// err is nil if there is no refusal.
func (r refusals) err() error {
	if len(r) == 0 {
		return nil
	}
	return r
}
