package git

import (
	"io"
	"sync/atomic"
)

// WordWatch looks for words of git, in what it writes, that tell why it stored nothing.
type WordWatch struct {
	Memory  atomic.Bool // it got no more memory
	Storage atomic.Bool // the disk does not take it
	Shallow atomic.Bool // it refuses a push out of a shallow clone
}

// On is w, watched.
func (m *WordWatch) On(w io.Writer) io.Writer { return &watchedWriter{Writer: w, m: m} }

type watchedWriter struct {
	io.Writer
	m    *WordWatch
	tail []byte // the end of what was written before
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	across := append(w.tail, b[:min(len(b), maxWords)]...)
	w.m.look(across)
	w.m.look(b)
	if len(b) > maxWords {
		across = b
	}
	w.tail = append([]byte(nil), across[max(0, len(across)-maxWords):]...)
	return w.Writer.Write(b)
}

func (m *WordWatch) look(said []byte) {
	if outOfMemory(said) {
		m.Memory.Store(true)
	}
	if cannotStore(said) {
		m.Storage.Store(true)
	}
	if refusesShallow(said) {
		m.Shallow.Store(true)
	}
}
