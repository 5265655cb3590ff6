package hooks

import (
	"fmt"
	"sync"
	"time"

	"refship/deploy/text"
)

// output tells the user of a run what happens, a line at a time. Safe for concurrent use.
type output struct {
	every    time.Duration       // how often a step tells how far it is; 0: it does not
	progress func(text.Progress) // is told how far a step is; may be nil

	mu   sync.Mutex
	send func(line string) error // takes a line without "refship: "; nil: the user is gone
	gone func(error)             // called when that is so; may be nil
}

// line tells one line. Text from outside in it can do nothing to a terminal.
func (o *output) line(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.send == nil {
		return
	}
	if err := o.send(text.Printable(fmt.Sprintf(format, args...))); err != nil {
		o.send = nil
		if o.gone != nil {
			o.gone(err)
		}
	}
}

// lines tells several.
func (o *output) lines(lines []string) {
	for _, line := range lines {
		o.line("%s", line)
	}
}

// during runs a step, and tells in regular intervals how far it is, also if the step itself says nothing.
func (o *output) during(label, step string, fn func(progress func(text.Progress)) error) error {
	last := &lastProgress{told: text.Progress{Step: step}}
	if o.progress != nil {
		o.progress(last.told)
	}
	defer o.tell(label, last)()
	return fn(func(p text.Progress) {
		last.set(p)
		if o.progress != nil {
			o.progress(p)
		}
	})
}

// lastProgress is how far a step is.
type lastProgress struct {
	mu   sync.Mutex
	told text.Progress
}

func (l *lastProgress) set(p text.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = p
}

func (l *lastProgress) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.String()
}

// tell tells a line now and then until stop is called.
func (o *output) tell(label string, last *lastProgress) (stop func()) {
	if o.every == 0 {
		return func() {}
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(o.every)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				o.line("%s%s", label, last)
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// collect gives an output that keeps its lines; one that repeats the line before is kept once.
func collect(lines *[]string) *output {
	return &output{send: func(line string) error {
		if n := len(*lines); n == 0 || (*lines)[n-1] != line {
			*lines = append(*lines, line)
		}
		return nil
	}}
}
