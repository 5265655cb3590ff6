package gitserver

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// crowded is a directory that takes all of the server's disk while it is there.
func (e *env) crowded() string { return filepath.Join(e.dir, "crowded") }

func startCrowded(t *testing.T) *env {
	return start(t, func(s *Server) { s.cfg.Room.Keep(filepath.Join(filepath.Dir(s.cfg.Repos.Path), "crowded"), 1<<60) })
}

// TestNoRoomForAPack: while the disk has no room a pack is refused at once, to a branch without a target, too. The
// pusher reads whose trouble that is, nothing of the pack stays, and what stores nothing goes on.
func TestNoRoomForAPack(t *testing.T) {
	e := startCrowded(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.git(laptop, work, "push", e.url("config"), "main", "main:gone").want(t, 0)
	e.commit(work, "more", "x")
	if err := os.Mkdir(e.crowded(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, branch := range []string{"main", "main:side"} {
		r := e.git(laptop, work, "push", e.url("config"), branch)
		e.fails(r, 1, fault.Failed)
		r.without(t, "fsck", "unshallow", e.dir)
	}
	if left := leftovers(t, repo); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if n := len(e.log.About("cannot store what was pushed")); n != 2 {
		t.Errorf("logged %d times", n)
	}
	if err := e.srv.Storage(); err == nil || !strings.Contains(err.Error(), "config") {
		t.Errorf("storage: %v", err)
	}
	e.git(laptop, work, "push", e.url("config"), ":gone").want(t, 0)
	if err := os.Remove(e.crowded()); err != nil {
		t.Fatal(err)
	}
	e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 2)
	if err := e.srv.Storage(); err != nil {
		t.Errorf("storage: %v", err)
	}
	e.stop()
	var full *disk.FullError
	if err := e.srv.cfg.Room.Share(repo.Dir).Take(1 << 60); !errors.As(err, &full) || full.Taken != 0 {
		t.Errorf("at the end room is still taken: %v", err)
	}
}

// TestNoRoomForOnePush: a push that asks for more than there is is refused, and the server stays ready for others.
func TestNoRoomForOnePush(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	p := &receiving{x: &session{s: e.srv, base: slog.New(e.log)}, name: "config", dir: repo.Dir, in: &pushInput{}}
	var full *disk.FullError
	if err := e.srv.cfg.Room.Share(repo.Dir).Take(1 << 60); !errors.As(err, &full) {
		t.Fatal(err)
	}
	// The words are judged here: no script can fill a disk.
	if err := p.noRoom(full); !strings.Contains(err.Error(), "it needs at least 1 EiB more") {
		t.Errorf("the pusher reads: %v", err)
	}
	if !e.logged("cannot store what was pushed") {
		t.Error("not logged")
	}
	if err := e.srv.Storage(); err != nil {
		t.Errorf("storage: %v", err)
	}
}

// TestDiskFillsDuringAPush: a pack is given up where it would take what has to stay free. Until then, each byte that is
// there is taken once more, for git's copy.
func TestDiskFillsDuringAPush(t *testing.T) {
	e := startCrowded(t)
	repo := e.repo("config")
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	var made fixture.Pack
	made.Blob(string(noise))
	pack := made.Bytes()
	p := &receiving{x: &session{s: e.srv, base: slog.New(e.log)}, name: "config", dir: repo.Dir}
	share := e.srv.cfg.Room.Share(repo.Dir)
	half := io.MultiReader(bytes.NewReader(pack[:len(pack)/2]), fills{e.crowded()}, bytes.NewReader(pack[len(pack)/2:]))
	_, _, err := p.keep(bufio.NewReader(half), share)
	var full *disk.FullError
	if !errors.As(err, &full) {
		t.Fatal(err)
	}
	if taken := full.Need - 1<<60 - leastFree; taken < int64(len(pack)/4) || taken > int64(len(pack)*3/4) {
		t.Errorf("got %v with a pack of %d bytes", err, len(pack))
	}
	share.GiveBack()
	unread := strings.NewReader("PACK")
	if _, _, err := p.keep(bufio.NewReader(unread), share); !errors.As(err, &full) || unread.Len() != 4 ||
		full.Need != 1<<60+leastFree {
		t.Errorf("got %v, %d bytes are not read", err, unread.Len())
	}
	if err := os.Remove(e.crowded()); err != nil {
		t.Fatal(err)
	}
	kept, _, err := p.keep(bufio.NewReader(bytes.NewReader(pack)), share)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if err := e.srv.cfg.Room.Share(repo.Dir).Take(1 << 60); !errors.As(err, &full) ||
		full.Taken != leastFree+int64(len(pack)) {
		t.Errorf("got %v with a pack of %d bytes", err, len(pack))
	}
	if left, err := os.ReadDir(filepath.Join(repo.Dir, "objects", "pack")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// fills is a part of a client's input that has no bytes, and meanwhile the disk fills up.
type fills struct{ crowded string }

func (f fills) Read([]byte) (int, error) {
	if err := os.Mkdir(f.crowded, 0o700); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// TestNewShortageStays: what is found out of an old shortage is not believed of a newer one.
func TestNewShortageStays(t *testing.T) {
	var s shortages
	s.add("config", shortage{})
	old := s.copy()["config"].at
	for !time.Now().After(old) {
	}
	s.add("config", shortage{})
	if s.removeOf("config", old); len(s.copy()) != 1 {
		t.Error("a newer shortage is gone")
	}
	if s.removeOf("config", s.copy()["config"].at); len(s.copy()) != 0 {
		t.Error("a shortage that is over is there")
	}
}
