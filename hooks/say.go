package hooks

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"refship/deploy"
	"refship/deploy/text"
)

// writeTimeout is how long a hook may leave what it is told unread before it counts as gone.
const writeTimeout = 10 * time.Second

// speaker tells the pusher what happens, a line at a time. Safe for concurrent use.
type speaker struct {
	every time.Duration

	mu   sync.Mutex
	send func(kind byte, payload []byte) error // nil: nobody listens any more
	gone func(error)                           // called when that is so
}

func newSpeaker(every time.Duration, send func(kind byte, payload []byte) error, gone func(error)) *speaker {
	return &speaker{every: every, send: send, gone: gone}
}

// overConn sends to refship-hook.
func overConn(conn net.Conn) func(kind byte, payload []byte) error {
	return func(kind byte, payload []byte) error {
		conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := writeFrame(conn, kind, payload); err != nil {
			return fmt.Errorf("tell the hook: %w", err)
		}
		return nil
	}
}

// line says one line. Text from outside in it can do nothing to a terminal.
func (s *speaker) line(format string, args ...any) {
	s.tell(frameOutput, []byte("refship: "+text.Printable(fmt.Sprintf(format, args...))+"\n"))
}

func (s *speaker) exit(status byte) { s.tell(frameExit, []byte{status}) }

func (s *speaker) tell(kind byte, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.send == nil {
		return
	}
	if err := s.send(kind, payload); err != nil {
		s.send = nil
		s.gone(err)
	}
}

// during runs fn, and in regular intervals says how far it is, also if fn itself tells nothing.
func (s *speaker) during(label, step string, fn func(progress func(text.Progress)) error) error {
	var mu sync.Mutex
	last := text.Progress{Step: step}
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
				words := describe(last)
				mu.Unlock()
				s.line("%s%s", label, words)
			}
		}
	}()
	defer func() {
		close(stop)
		<-done
	}()
	return fn(func(p text.Progress) {
		mu.Lock()
		defer mu.Unlock()
		last = p
	})
}

// describe puts progress into words: "reading 412 of 812 files", "storing 3.1 MiB of 20 MiB".
func describe(p text.Progress) string {
	var parts []string
	switch {
	case p.FilesTotal > 0:
		parts = append(parts, fmt.Sprintf("%d of %s", p.Files, text.Count(p.FilesTotal, "file")))
	case p.Files > 0:
		parts = append(parts, text.Count(p.Files, "file"))
	}
	switch {
	case p.BytesTotal > 0:
		parts = append(parts, text.Size(p.Bytes)+" of "+text.Size(p.BytesTotal))
	case p.Bytes > 0:
		parts = append(parts, text.Size(p.Bytes))
	}
	if len(parts) == 0 {
		return p.Step + " …"
	}
	return p.Step + " " + strings.Join(parts, ", ")
}

// Explain puts an error into lines, as a push is told of it: what became of it ("refused"), why, and what to do, in the
// words of remedy.
func Explain(remedy func(error) string, verb string, err error) []string {
	lines := explain(remedy, verb, err)
	for i, line := range lines {
		lines[i] = text.Printable(line)
	}
	return lines
}

func (s *Deployer) explain(verb string, err error) []string { return explain(s.cfg.Remedy, verb, err) }

// explain puts an error into lines: "refused: …" or "pushed, not deployed: …", and its hint; of many refusals the first
// few, and no hint twice.
func explain(remedy func(error) string, verb string, err error) []string {
	var all *refusals
	if !errors.As(err, &all) {
		return explainOne(remedy, verb, err, make(map[string]bool))
	}
	var lines []string
	hinted := make(map[string]bool)
	for _, e := range all.first() {
		lines = append(lines, explainOne(remedy, verb, e, hinted)...)
	}
	if more := all.more(); more != "" {
		lines = append(lines, more)
	}
	return lines
}

func explainOne(remedy func(error) string, verb string, err error, hinted map[string]bool) []string {
	lines := []string{verb + ": " + err.Error()}
	var conflict *deploy.ConflictError
	if errors.As(err, &conflict) {
		lines = []string{verb + ": " + conflict.At(), conflict.Why}
	}
	if hint := remedy(err); hint != "" && !hinted[hint] {
		hinted[hint] = true
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

// maxRefusals is how many refusals of one push are told.
const maxRefusals = 10

// refusals are all reasons why a push is refused, each once.
type refusals struct {
	all  []error
	said map[string]bool // their texts
}

func (r *refusals) Error() string {
	var texts []string
	for _, e := range r.first() {
		texts = append(texts, e.Error())
	}
	if more := r.more(); more != "" {
		texts = append(texts, more)
	}
	return strings.Join(texts, "; ")
}

func (r *refusals) Unwrap() []error { return r.all }

// first are those that are told.
func (r *refusals) first() []error { return r.all[:min(len(r.all), maxRefusals)] }

// more says how many are not told, "" if none.
func (r *refusals) more() string {
	if n := len(r.all) - maxRefusals; n > 0 {
		return "… and " + text.Count(n, "more refusal")
	}
	return ""
}

// add takes err in, unless it is nil or the same was said already.
func (r *refusals) add(err error) {
	if err == nil || r.said[err.Error()] {
		return
	}
	if r.said == nil {
		r.said = make(map[string]bool)
	}
	r.said[err.Error()] = true
	r.all = append(r.all, err)
}

// err is nil if there is no refusal.
func (r *refusals) err() error {
	if len(r.all) == 0 {
		return nil
	}
	return r
}
