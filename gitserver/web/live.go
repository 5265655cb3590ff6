package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"refship/deploy/record"
)

const (
	// streamsAtOnce and streamsOfOne are how many streams of events are open at the same time, in all and of one key.
	streamsAtOnce, streamsOfOne = 200, 10
	// streamTime is how long a stream stays open; a browser opens it again.
	streamTime = 30 * time.Minute
	// beatEvery is the pause after which a quiet stream says that it is there, and its viewer's rules are looked up.
	beatEvery = 15 * time.Second
	// eventsApart is the least time between two events of a stream.
	eventsApart = 200 * time.Millisecond
	// writeTime is how long a browser may take to take an event, or a part of a download.
	writeTime = 30 * time.Second
	// pushesKept bounds how many pushes are remembered, and keptFor for how long when they have ended.
	pushesKept = 100
	keptFor    = time.Minute
	// lostAfter is how long one is remembered of which nothing is heard.
	lostAfter = time.Hour
)

// Phase is how far a push, or a deploy that was asked for, is.
type Phase string

// The phases, in their order; Published, Refused and Nothing are the end.
const (
	Checking   Phase = "checking"
	Storing    Phase = "storing"
	Publishing Phase = "publishing"
	Published  Phase = "published"
	Nothing    Phase = "nothing to do"
	Refused    Phase = "not deployed"
)

// Push is one delivery on its way into a chain.
type Push struct {
	Key        uint64 // tells one delivery from another
	Namespace  record.Namespace
	Repository string
	Target     string
	By         string // who asked
	Hash       record.Hash
	Phase      Phase
	ID         record.ID // with Published

	since time.Time // of the phase
}

// IsOver tells whether nothing more comes of it.
func (p Push) IsOver() bool { return p.Phase == Published || p.Phase == Refused || p.Phase == Nothing }

// Short is the hash, for reading.
func (p Push) Short() string { return p.Hash.Short() }

// Push takes in how far a push is. It does not wait. A nil Web does nothing.
func (w *Web) Push(p Push) {
	if w == nil {
		return
	}
	p.since = time.Now()
	w.hub.push(p)
}

// hub tells streams what has changed.
type hub struct {
	changes func(context.Context, record.Namespace) (<-chan struct{}, func())

	mu      sync.Mutex
	streams map[*stream]struct{}
	watched map[record.Namespace]*watched
	pushes  []Push // the newest last
}

// stream is one that is open.
type stream struct {
	of   string // the viewer's fingerprint
	all  map[record.Namespace]bool
	wake chan struct{} // has one element if something has changed
}

// watched is a chain that streams wait for.
type watched struct {
	streams int
	stop    context.CancelFunc
}

func newHub(changes func(context.Context, record.Namespace) (<-chan struct{}, func())) *hub {
	return &hub{
		changes: changes, streams: map[*stream]struct{}{}, watched: map[record.Namespace]*watched{},
	}
}

// push remembers how far a push is, and tells it.
func (h *hub) push(p Push) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	at := slices.IndexFunc(h.pushes, func(is Push) bool { return is.Key == p.Key })
	if at < 0 {
		h.pushes = append(h.pushes, p)
	} else {
		h.pushes[at] = p
	}
	if more := len(h.pushes) - pushesKept; more > 0 {
		h.pushes = slices.Delete(h.pushes, 0, more)
	}
	h.tell(p.Namespace)
}

// forget drops pushes that have ended some time ago.
func (h *hub) forget() {
	h.pushes = slices.DeleteFunc(h.pushes, func(p Push) bool {
		age := time.Since(p.since)
		return p.IsOver() && age > keptFor || age > lostAfter
	})
}

// underWay are the pushes to chains, the newest first. Of those to one chain that have ended in the same way only the
// newest is among them: the timeline has the others.
func (h *hub) underWay(of func(Push) bool) (all []Push) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	type end struct {
		ns record.Namespace
		as Phase
	}
	ended := map[end]bool{}
	for _, p := range slices.Backward(h.pushes) {
		is := end{p.Namespace, p.Phase}
		if of(p) && !ended[is] {
			all = append(all, p)
			ended[is] = p.IsOver()
		}
	}
	return all
}

// tell wakes the streams of a chain. The caller has the lock.
func (h *hub) tell(ns record.Namespace) {
	for s := range h.streams {
		if s.all[ns] {
			select {
			case s.wake <- struct{}{}:
			default:
			}
		}
	}
}

var errBusy = errors.New("too many pages wait for news")

// open adds a stream of some chains, until stop is called.
func (h *hub) open(of string, all []readable) (s *stream, stop func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := 0
	for s := range h.streams {
		if s.of == of {
			own++
		}
	}
	if len(h.streams) >= streamsAtOnce || own >= streamsOfOne {
		return nil, nil, errBusy
	}
	s = &stream{of: of, all: map[record.Namespace]bool{}, wake: make(chan struct{}, 1)}
	for _, one := range all {
		if !s.all[one.ns] {
			s.all[one.ns] = true
			h.watch(one.ns)
		}
	}
	h.streams[s] = struct{}{}
	return s, func() { h.close(s) }, nil
}

// watch begins to watch a chain, if no other stream does. The caller has the lock.
func (h *hub) watch(ns record.Namespace) {
	if is := h.watched[ns]; is != nil {
		is.streams++
		return
	}
	ctx, cancel := context.WithCancel(context.Background()) // it is that of several requests
	done := make(chan struct{})
	h.watched[ns] = &watched{streams: 1, stop: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		changed, stop := h.changes(ctx, ns)
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				h.mu.Lock()
				h.tell(ns)
				h.mu.Unlock()
			}
		}
	}()
}

// close ends a stream, and the watches that no other one needs.
func (h *hub) close(s *stream) {
	var stop []context.CancelFunc
	h.mu.Lock()
	delete(h.streams, s)
	for ns := range s.all {
		is := h.watched[ns]
		if is.streams--; is.streams == 0 {
			stop = append(stop, is.stop)
			delete(h.watched, ns)
		}
	}
	h.mu.Unlock()
	for _, end := range stop {
		end()
	}
}

// stream answers with a stream of events (https://html.spec.whatwg.org, "Server-sent events"). An event says only that
// something has changed: what that is a page shows, as far as its viewer may see it then.
func (w *Web) stream(q *request) {
	all, err := w.readable(q)
	if err != nil {
		w.answerError(q, err)
		return
	}
	s, stop, err := w.hub.open(q.viewer.Fingerprint+" "+q.viewer.Name, all)
	if err != nil {
		q.out.Header().Set("Retry-After", "60")
		w.fail(q, http.StatusServiceUnavailable, err)
		return
	}
	defer stop()
	if q.Method == http.MethodHead {
		q.out.Header().Set("Content-Type", "text/event-stream")
		return
	}
	ctx, cancel := context.WithTimeout(q.Context(), streamTime)
	defer cancel()
	q.patient()
	q.out.Header().Set("Content-Type", "text/event-stream")
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	said := ": refship\n\n"
	for {
		if err := w.say(q, said); err != nil {
			return
		}
		anew := false
		select {
		case <-ctx.Done():
			return
		case <-w.cfg.Done:
			return
		case <-beat.C:
			said, anew = ": still here\n\n", true
		case <-s.wake:
			said = "event: changed\ndata:\n\n"
		}
		if !w.mayGoOn(q, all, anew) {
			return // the browser opens it again, and is told why not
		}
	}
}

// patient lets an answer take longer than the server's limits, which are those of requests that are answered at once:
// when the time to read one is over, net/http takes its client for gone.
func (q *request) patient() {
	_ = http.NewResponseController(q.out).SetReadDeadline(time.Time{}) // where there is none, there is no limit either
}

// waitLess gives the browser some time to take the next part of the answer.
func (q *request) waitLess() {
	_ = http.NewResponseController(q.out).SetWriteDeadline(time.Now().Add(writeTime)) // as in patient
}

// say sends a part of a stream.
func (w *Web) say(q *request, said string) error {
	q.waitLess()
	if _, err := fmt.Fprint(q.out, said); err != nil {
		return err
	}
	if err := http.NewResponseController(q.out).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	timer := time.NewTimer(eventsApart)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.Context().Done():
	case <-w.cfg.Done:
	}
	return nil
}

// mayGoOn tells whether the viewer, as the rules are now, may still have a stream. One of all chains ends when they may
// read others than before, which is looked for where that is anew: a new stream is of those.
func (w *Web) mayGoOn(q *request, before []readable, anew bool) bool {
	viewer, err := w.cfg.Viewer(q.Request)
	if err != nil {
		return false
	}
	q.viewer = viewer
	if !anew {
		return !slices.ContainsFunc(before, func(one readable) bool { return !viewer.MayRead(one.repo) })
	}
	if q.at.repo != "" {
		_, is, err := w.find(viewer, q.at.repo, q.at.target)
		return err == nil && is == q.target
	}
	now, err := w.readable(q)
	return err == nil && slices.Equal(now, before)
}

// readable is a chain that a stream is about, and its repository.
type readable struct {
	repo string
	ns   record.Namespace
}

// readable are the chains that a stream is about.
func (w *Web) readable(q *request) (all []readable, err error) {
	if q.at.repo != "" {
		return []readable{{q.at.repo, q.target.Namespace}}, nil
	}
	listed, err := w.list(q)
	for _, repo := range listed {
		for _, t := range repo.Targets {
			all = append(all, readable{repo.Name, t.Namespace})
		}
	}
	return all, err
}
