package conns

import (
	"sync"
	"time"
)

// What outsiders can cause must not fill the log.
const (
	floodLines = 20
	floodTime  = 10 * time.Second
)

// Flood lets a burst of log lines of one kind through and holds back the rest.
type Flood struct {
	mu    sync.Mutex
	since time.Time
	lines int
	held  int
}

// Next tells whether one more line may be written, and how many were held back before it.
func (f *Flood) Next() (held int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.since) > floodTime {
		f.since, f.lines = now, 0
	}
	if f.lines >= floodLines {
		f.held++
		return 0, false
	}
	f.lines++
	held, f.held = f.held, 0
	return held, true
}
