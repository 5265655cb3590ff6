package gitserver

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// maxHeld bounds what a hidingWriter holds back for the rest of a line.
const maxHeld = 16 << 10

// hidingWriter passes on lines, also those of progress, without what hide takes out of them: git names the server's
// files in full where it cannot run a hook, for one. Close it after the last Write.
type hidingWriter struct {
	to   *clientWriter
	hide *strings.Replacer

	mu      sync.Mutex
	line    []byte // so far
	tooLong bool   // git could not start a program: its environment is too long
}

// argsTooLong is how git and the system say that a program's environment is longer than execve(2) takes.
const argsTooLong = "Argument list too long"

func (w *hidingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = append(w.line, p...)
	end := bytes.LastIndexAny(w.line, "\r\n") + 1
	if end == 0 && len(w.line) > maxHeld {
		end = len(w.line)
	}
	w.pass(end)
	return len(p), nil
}

// pass passes on the first bytes of what is held back.
func (w *hidingWriter) pass(n int) {
	if n == 0 {
		return
	}
	lines := string(w.line[:n])
	w.line = append(w.line[:0], w.line[n:]...)
	w.tooLong = w.tooLong || strings.Contains(lines, argsTooLong)
	_, _ = io.WriteString(w.to, w.hide.Replace(lines)) // writing to a client never fails
}

// Close passes on a line without an end, too.
func (w *hidingWriter) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass(len(w.line))
	w.to.Close()
}

// saidTooLong tells whether git could not start its hooks for the length of their environment.
func (w *hidingWriter) saidTooLong() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tooLong
}
