package gitserver

import (
	"io"
	"sync"
	"time"
)

// readTimeout is how long a client may read nothing before it counts as gone.
const readTimeout = 10 * time.Second

// client is the reader at the other end of a session. Writes to it always succeed: once it has read nothing for a
// while, or its channel is closed, it counts as gone and what is written is dropped. So a process whose output ends
// here never waits for a client for longer than that, and no client ends it.
type client struct {
	timeout time.Duration
	gone    chan struct{}
	once    sync.Once
	onGone  func(idle bool) // called once, when the client is gone
	writers sync.WaitGroup
}

func newClient(timeout time.Duration, onGone func(idle bool)) *client {
	return &client{timeout: timeout, gone: make(chan struct{}), onGone: onGone}
}

func (c *client) markGone(idle bool) {
	c.once.Do(func() {
		close(c.gone)
		c.onGone(idle)
	})
}

func (c *client) isGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// clientWriter is one of the client's streams. Close it after the last Write.
type clientWriter struct {
	c    *client
	mu   sync.Mutex
	buf  [clientChunk]byte
	jobs chan []byte
	done chan error
}

// clientChunk is how many bytes a client has to read within the timeout.
const clientChunk = 4 << 10

// writer gives a stream that ends in w. Its goroutine ends with Close, but not before w's Write returns: onGone has
// to make it return.
func (c *client) writer(w io.Writer) *clientWriter {
	cw := &clientWriter{c: c, jobs: make(chan []byte), done: make(chan error, 1)}
	c.writers.Go(func() {
		for b := range cw.jobs {
			_, err := w.Write(b)
			cw.done <- err // there is room: the next job comes after this was taken, or never
		}
	})
	return cw
}

// Write never fails and never takes longer than the timeout for each chunk.
func (w *clientWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0 && !w.c.isGone(); {
		n := copy(w.buf[:], rest)
		rest = rest[n:]
		w.send(w.buf[:n])
	}
	return len(p), nil
}

func (w *clientWriter) send(b []byte) {
	w.jobs <- b // the goroutine waits here: after an unanswered job the client is gone, and there is no next one
	// Two halves: a server that stood still itself finds that time is up before the client can have read anything.
	for range 2 {
		select {
		case err := <-w.done:
			if err != nil {
				w.c.markGone(false)
			}
			return
		case <-time.After(w.c.timeout / 2):
		}
	}
	w.c.markGone(true)
}

func (w *clientWriter) Close() { close(w.jobs) }
