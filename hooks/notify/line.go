package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"refship/deploy/webhook"
	"refship/hooks/target"
)

const (
	// requestTime is how long a receiver may take to answer.
	requestTime = 10 * time.Second
	// The pause after a failure grows from the first to the second, and is between half of that and all of it.
	firstPause, lastPause = 5 * time.Second, time.Hour
	// diskPause is the pause after a queue could not be read.
	diskPause = 30 * time.Second
)

// clock is what a line knows of time.
type clock struct {
	now    func() time.Time
	sleep  func(context.Context, time.Duration) // until ctx ends at most
	random func() float64                       // from 0 to 1
}

func realClock() clock {
	return clock{now: time.Now, random: rand.Float64, sleep: func(ctx context.Context, d time.Duration) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}}
}

// line delivers one queue, in order.
type line struct {
	at       Place
	to       target.Receiver
	queue    *queue
	notifier *Notifier
	log      *slog.Logger
	failures int // since the last success
}

// run delivers until ctx ends.
func (l *line) run(ctx context.Context) {
	if err := l.queue.clean(); err != nil {
		l.log.WarnContext(ctx, "notify: clean queue", "error", err)
	}
	for ctx.Err() == nil {
		pause, some := l.step(ctx)
		switch {
		case pause > 0:
			l.notifier.clock.sleep(ctx, pause)
		case !some:
			select {
			case <-ctx.Done():
			case <-l.queue.wake:
			}
		}
	}
}

// step takes care of the oldest entry; some: there was one. pause is for how long to leave the receiver alone.
func (l *line) step(ctx context.Context) (pause time.Duration, some bool) {
	now := l.notifier.clock.now()
	e, err := l.queue.oldest()
	switch {
	case err != nil:
		l.log.WarnContext(ctx, "notify: read queue", "error", err)
		return diskPause, true
	case e == nil:
		return 0, false
	case e.Body == nil:
		return l.drop(ctx, e, "it cannot be read"), true
	case now.Sub(e.Queued) >= keepFor:
		return l.drop(ctx, e, fmt.Sprintf("it was tried for %s", keepFor)), true
	}
	answer, err := l.deliver(ctx, e.Body)
	switch {
	case err == nil:
		l.failures = 0
		l.notifier.count(func(s *Stats) { s.Delivered++; s.LastSuccess = l.notifier.clock.now() })
		if err := l.queue.remove(e.name); err != nil { // else it is told again and again
			l.log.WarnContext(ctx, "notify: remove from queue", "error", err)
			return diskPause, true
		}
		return 0, true
	case ctx.Err() != nil:
		return 0, true
	}
	l.failures++
	l.notifier.count(func(s *Stats) { s.Failed++ })
	pause = l.pause(answer)
	pause = min(pause, max(keepFor-now.Sub(e.Queued), time.Second)) // it is given up in time
	l.log.WarnContext(ctx, "notify: failed", "delivery", e.name, "failures", l.failures, "again_in", pause, "error", err)
	return pause, true
}

// deliver sends one event, when few others are being sent.
func (l *line) deliver(ctx context.Context, body []byte) (*webhook.Answer, error) {
	if err := l.notifier.sending.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer l.notifier.sending.Release(1)
	secret, err := Secret(l.at, l.to)
	if err != nil {
		return nil, err
	}
	return send(ctx, l.to, secret, body, l.notifier.cfg.Agent)
}

// drop gives an entry up.
func (l *line) drop(ctx context.Context, e *entry, why string) (pause time.Duration) {
	if err := l.queue.remove(e.name); err != nil {
		l.log.WarnContext(ctx, "notify: remove from queue", "error", err)
		return diskPause
	}
	l.notifier.givenUp(ctx, l.log, why, e.name)
	return 0
}

// pause is how long to wait after so many failures.
func (l *line) pause(answer *webhook.Answer) time.Duration {
	full := lastPause
	if l.failures < 12 {
		full = min(full, firstPause<<(l.failures-1))
	}
	pause := full/2 + time.Duration(l.notifier.clock.random()*float64(full/2))
	if answer != nil {
		pause = max(pause, min(answer.RetryAfter, lastPause))
	}
	return pause
}

// send sends one event. Any answer but a success is an error, too.
func send(ctx context.Context, to target.Receiver, secret string, body []byte, agent string) (*webhook.Answer, error) {
	e := new(Event)
	if err := json.Unmarshal(body, e); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	if to.Slack {
		var err error
		if body, err = slack(e); err != nil {
			return nil, err
		}
	}
	r := &webhook.Request{
		URL: to.URL, Method: http.MethodPost, Body: body, Secret: secret, Timeout: requestTime,
		Header: http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {agent},
			EventHeader: {string(e.Kind)}, DeliveryHeader: {e.ID},
		},
	}
	answer, err := r.Send(ctx)
	if err != nil {
		return nil, err
	}
	if answer.Code/100 != 2 {
		what := "the answer is " + answer.Status
		if answer.Line != "" {
			what += ": " + answer.Line
		}
		return answer, errors.New(what)
	}
	return answer, nil
}

// The headers beside webhook.SignatureHeader.
const (
	EventHeader    = "X-Refship-Event"
	DeliveryHeader = "X-Refship-Delivery"
)

// Try sends one event to one receiver now, past its queue. The answer is nil if there was none.
func Try(ctx context.Context, at Place, to target.Receiver, e *Event, agent string) (*webhook.Answer, error) {
	secret, err := Secret(at, to)
	if err != nil {
		return nil, err
	}
	body, err := e.encode()
	if err != nil {
		return nil, err
	}
	return send(ctx, to, secret, body, agent)
}
