package output

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"refship/deploy/text"
)

// Output tells the user of a run what happens, a line at a time. Its fields are set before it is used. Safe for
// concurrent use.
type Output struct {
	Every    time.Duration           // how often a step tells how far it is; 0: it does not
	Progress func(text.Progress)     // is told how far a step is; may be nil
	Send     func(line string) error // takes a line without "refship: "; an error: the user is gone
	Gone     func(error)             // called once when that is so; may be nil

	mu     sync.Mutex
	isGone bool
}

// Line tells one line. Text from outside in it can do nothing to a terminal.
func (o *Output) Line(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.isGone {
		return
	}
	if err := o.Send(text.Printable(fmt.Sprintf(format, args...))); err != nil {
		o.isGone = true
		if o.Gone != nil {
			o.Gone(err)
		}
	}
}

// Lines tells several.
func (o *Output) Lines(lines []string) {
	for _, line := range lines {
		o.Line("%s", line)
	}
}

// During runs a step, and tells in regular intervals how far it is, also if the step itself says nothing.
func (o *Output) During(label, step string, fn func(progress func(text.Progress)) error) error {
	var last atomic.Pointer[text.Progress]
	progress := func(p text.Progress) {
		last.Store(&p)
		if o.Progress != nil {
			o.Progress(p)
		}
	}
	progress(text.Progress{Step: step})
	defer o.repeat(func() { o.Line("%s%s", label, last.Load()) })()
	return fn(progress)
}

// repeat calls tell now and then until stop is called.
func (o *Output) repeat(tell func()) (stop func()) {
	if o.Every == 0 {
		return func() {}
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(o.Every)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				tell()
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// Collect gives an output that keeps its lines; one that repeats the line before is kept once.
func Collect(lines *[]string) *Output {
	return &Output{Send: func(line string) error {
		if n := len(*lines); n == 0 || (*lines)[n-1] != line {
			*lines = append(*lines, line)
		}
		return nil
	}}
}
