package disk

import (
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// Room shares out what is free on disks among those of a process that write at the same time, so that no two of them
// count on the same bytes. The zero Room is ready. Safe for concurrent use.
type Room struct {
	mu    sync.Mutex
	kept  []kept
	taken map[uint64]int64 // by disk: what all shares have together, in bytes
}

type kept struct {
	path  string
	bytes int64
}

// Keep sets bytes aside, on the disk that path is on: no share gets them.
func (r *Room) Keep(path string, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, kept{path, bytes})
}

// Share is what one writer has taken of a disk and not yet written. One goroutine may use it at a time.
type Share struct {
	room  *Room
	path  string
	disk  uint64
	bytes int64
}

// Share begins a share of nothing, on the disk that path is on.
func (r *Room) Share(path string) *Share { return &Share{room: r, path: path} }

// FullError is given for what a disk has no room for.
type FullError struct {
	Need  int64 // what the share would have, and what is kept free on its disk, in bytes
	Kept  int64 // the part of Need that is kept free
	Free  int64
	Taken int64 // by the other shares
}

func (e *FullError) Error() string {
	return fmt.Sprintf("disk has no room: %d bytes are needed, %d are free, and others have taken %d of them",
		e.Need, e.Free, e.Taken)
}

// Take takes so many bytes more for the share, or none and gives a [*FullError].
func (s *Share) Take(bytes int64) error {
	disk, err := diskOf(s.path)
	if err != nil {
		return err
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	free, err := Free(s.path)
	if err != nil {
		return err
	}
	keep := int64(0)
	for _, k := range r.kept {
		if on, err := diskOf(k.path); err == nil && on == disk { // a disk that is gone keeps nothing
			keep += k.bytes
		}
	}
	need := s.bytes + bytes + keep
	if others := r.taken[disk] - s.bytes; need > free-others {
		return &FullError{Need: need, Kept: keep, Free: free, Taken: others}
	}
	if r.taken == nil {
		r.taken = make(map[uint64]int64)
	}
	r.taken[disk] += bytes
	s.disk, s.bytes = disk, s.bytes+bytes
	return nil
}

// GiveBack ends the share: what it took is written, or will not be. It may be called again.
func (s *Share) GiveBack() {
	if s.bytes == 0 {
		return
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.room.taken[s.disk] -= s.bytes
	s.bytes = 0
}

// diskOf tells disks apart.
func diskOf(path string) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint64(s.Dev), nil //nolint:unconvert // other systems have other types there
}
