package conns

import (
	"sync"
	"time"
)

// A client may idle as long as it likes: behind a shared connection, or while a hook of its own runs before it sends
// a push. But one that is gone without a word must not stay for ever. So a client that was silent for a while is
// asked whether it is there, and whatever it sends is an answer, even a refusal. TCP's own keepalives, which Go
// switches on, find only hosts that are gone: for a client that is stopped its kernel answers.
//
// Looks are counted, not only time: a server that stood still itself (a virtual machine that was moved) hears what its
// clients have sent meanwhile only after it has looked.
// goneAfter is how many times Limits.AskAfter a client is silent, and was found so, before it counts as gone.
const goneAfter = 3

// keeper asks one client. It has a goroutine only while a question is open.
type keeper struct {
	t        *Table
	c        *Conn
	question func()

	mu      sync.Mutex
	timer   *time.Timer
	heard   int64 // Conn.heard at the last look
	silent  int   // how many times it was found silent since it was heard
	asking  bool
	stopped bool
}

// watchSilence begins when the client has authenticated: before that LoginGrace bounds its time.
func (t *Table) watchSilence(c *Conn, question func()) {
	k := &keeper{t: t, c: c, question: question}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(t.cfg.AskAfter, k.checkSilence)
	c.keeper.Store(k)
}

// stop ends the watch; a question that is open ends with its connection.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.timer.Stop()
}

// checkSilence is called when the client may have been silent for long enough.
func (k *keeper) checkSilence() {
	k.mu.Lock()
	defer k.mu.Unlock()
	every := k.t.cfg.AskAfter
	silent := k.c.silent()
	if heard := k.c.heard.Load(); heard != k.heard {
		k.heard, k.silent = heard, 0
	}
	if silent >= every {
		k.silent++
	}
	switch {
	case k.stopped:
		return
	case k.silent >= goneAfter:
		k.t.cfg.Log.Warn("client does not answer",
			"address", k.c.RemoteAddr().String(), "silent", silent.Round(time.Millisecond))
		_ = k.c.Close() // a push whose input is complete goes on
		return
	case silent >= every:
		k.ask()
		k.timer.Reset(every)
	default:
		k.timer.Reset(every - silent)
	}
}

// ask sends the question. There is one at a time: the stream delivers it, or breaks. The caller holds k.mu.
func (k *keeper) ask() {
	if k.asking {
		return
	}
	k.asking = true
	k.t.others.Go(func() {
		k.question()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asking = false
	})
}
