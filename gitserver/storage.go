package gitserver

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks"
)

// Whose fault it is that git did not store a push, or did not move a ref, is found out by a look at the repository, not
// by git's words alone: those may name what a client sent.

// shortages are the repositories whose disk did not take a push.
type shortages struct {
	mu  sync.Mutex
	all map[string]shortage // by name
}

type shortage struct {
	dir  string   // of the repository
	refs []string // that did not move
	need int64    // what must be free for that push, in bytes
	at   time.Time
}

// shortageAge is for how long it counts that a disk has no room for a push that came. After that it must take a small
// file: one push that is too large must not make a server unready for ever.
const shortageAge = time.Minute

// Storage is nil if the disk of each repository takes what pushes bring, as far as is known. It is asked for the
// repositories whose last push failed, by writing to them.
func (s *Server) Storage() error {
	var errs []error
	for name, short := range s.shortages.copy() {
		at := short.at
		if time.Since(at) > shortageAge {
			short.need = leastFree
		}
		err := short.try() // on a disk that hangs, pushes must not
		if err == nil || !exists(short.dir) {
			s.shortages.removeOf(name, at)
			continue
		}
		errs = append(errs, fmt.Errorf("repository %s cannot store what is pushed: %w", name, err))
	}
	slices.SortFunc(errs, func(a, b error) int { return len(a.Error()) - len(b.Error()) })
	return errors.Join(errs...)
}

func (s *shortages) add(name string, short shortage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string]shortage)
	}
	short.at = time.Now()
	s.all[name] = short
}

func (s *shortages) copy() map[string]shortage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

// removeOf removes the shortage of a time, and not a newer one.
func (s *shortages) removeOf(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name].at.Equal(at) {
		delete(s.all, name)
	}
}

// remove is called when a push was stored.
func (s *shortages) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
}

// try writes where a push writes, and looks at what is free.
func (s shortage) try() error {
	places := []string{filepath.Join(s.dir, "objects", "pack"), git.RefDir(s.dir, "")}
	for _, ref := range s.refs {
		places = append(places, git.RefDir(s.dir, ref))
	}
	for _, dir := range places {
		if err := disk.TryWrite(dir); err != nil { // git takes no file whose name begins with a dot for a ref
			return err
		}
	}
	free, err := disk.Free(s.dir)
	if err == nil && free < s.need {
		err = fmt.Errorf("%s are free on its disk, and %s are needed", text.Size(free), text.Size(s.need))
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// leastFree is what a push needs besides the room for what came: refs, an intent.
const leastFree = 1 << 20

// serverFault is why the server could not store a push, nil if nothing says that it is to blame; sure: more than git's
// words says so. refs did not move.
func (p *receiving) serverFault(received input, refs []string) (err error, sure bool) {
	short := shortage{dir: p.dir, refs: refs}
	said := p.watch.Storage.Load()
	if said {
		short.need = 2*received.bytes + leastFree // git's copy and ours
	}
	if err := short.try(); err != nil {
		return p.cannotStore(err, short), true
	}
	if loose, err := git.ReadLoose(p.dir); err == nil && len(loose.Empty) > 0 {
		err := git.EmptyRefError(p.dir, loose.Empty[0])
		p.x.log().Error("a ref is broken", "repository", p.name, "error", err, "remedy", fault.RemedyOf(err))
		return &fault.Error{Kind: fault.Failed, What: err.Error(), Cause: err, Remedy: "this is not about your repository: " +
			"the server's operator must remove that file, which the server's log names; then push again what it had"}, true
	}
	if said {
		p.x.log().Warn("git says that it cannot store what was pushed", "repository", p.name)
		return p.cannotStoreWords(errors.New("git says why")), false
	}
	return nil, false
}

// cannotStore tells the operator, lets /readyz fail, and words it for the pusher.
func (p *receiving) cannotStore(cause error, short shortage) error {
	p.x.s.shortages.add(p.name, short)
	return p.refuseToStore(cause)
}

// refuseToStore is cannotStore, but for /readyz.
func (p *receiving) refuseToStore(cause error) error {
	p.x.log().Error("cannot store what was pushed", "repository", p.name, "error", cause)
	return p.cannotStoreWords(cause)
}

func (p *receiving) cannotStoreWords(cause error) error {
	why := cause.Error()
	if number := syscall.Errno(0); errors.As(cause, &number) {
		why = number.Error()
	}
	return &fault.Error{
		Kind: fault.Failed, What: fmt.Sprintf("the server cannot store what was pushed to %s: %s", p.name, why), Cause: cause,
		Remedy: cmp.Or(fault.RemedyOf(cause), "this is not about your repository: the server's operator must look whether "+
			"its disk is full or read-only; the server's log says more"),
	}
}

// sharing takes as much of a disk as it writes: what is written has to fit there a second time.
type sharing struct {
	io.Writer
	share *disk.Share
}

func (s sharing) Write(p []byte) (int, error) {
	if err := s.share.Take(int64(len(p))); err != nil {
		return 0, err
	}
	return s.Writer.Write(p)
}

// noRoom is for a pack that the disk has no room for, and that is given up before it is all there. Only where even the
// smallest push has none is the server not ready: else one large push would keep all others away.
func (p *receiving) noRoom(full *disk.FullError) error {
	cause := fault.New(fault.Failed,
		fmt.Sprintf("it needs at least %s more on its disk, where %s", text.Size(full.Need),
			text.Free(full.Free, full.Taken)),
		"this is not about your repository: the server's operator must free some space on its disk; then push again")
	if short := (shortage{dir: p.dir, need: full.Kept + leastFree}); short.try() != nil {
		return p.cannotStore(cause, short)
	}
	return p.refuseToStore(cause)
}

// notKept is for a pack that the server could not keep.
func (p *receiving) notKept(cause error) error {
	return p.cannotStore(cause, shortage{dir: p.dir, need: 2*p.in.soFar().bytes + leastFree})
}

// noteStorage takes in that a push was stored, or that its hooks refused it because they could not write.
func (p *receiving) noteStorage(outcome hooks.Outcome) {
	p.mu.Lock()
	pack := p.list.Pack
	p.mu.Unlock()
	if pack && outcome.Reached && outcome.Refused == nil && len(outcome.Unmoved) == 0 {
		p.x.s.shortages.remove(p.name)
	}
	if !disk.CannotStore(outcome.Refused) {
		return
	}
	if short := (shortage{dir: p.dir, need: leastFree}); short.try() != nil {
		_ = p.cannotStore(outcome.Refused, short) // the hook has told it
	}
}

// tellUnmoved tells why git did not move refs after the hooks had accepted the push.
func (p *receiving) tellUnmoved(received input, refs []string) {
	err, sure := p.serverFault(received, refs)
	lock := p.lockOf(refs)
	p.mu.Lock()
	shallow := p.list.Shallow && p.watch.Shallow.Load()
	p.mu.Unlock()
	switch {
	case sure:
		p.x.tellError(err)
	case lock != nil:
		p.x.log().Warn("a lock keeps a ref from moving", "repository", p.name, "lock", lock.Path, "since", lock.Since)
		p.x.tell(fmt.Sprintf("hint: %s is there: another git works on it, or has died. "+
			"A lock that is older than a minute is removed before a push: push again then", lock.Path))
	case shallow:
		p.x.tell("hint: your repository is a shallow clone; make it whole: git fetch --unshallow")
	case err != nil:
		p.x.tellError(err)
	default:
		p.x.tell("hint: git says why")
	}
}

// lockOf is the lock that keeps git from moving one of the refs, nil if there is none.
func (p *receiving) lockOf(refs []string) *git.Lock {
	loose, err := git.ReadLoose(p.dir)
	if err != nil {
		return nil
	}
	for _, lock := range loose.Locks {
		ref := strings.TrimSuffix(filepath.ToSlash(lock.Path), ".lock")
		if slices.Contains([]string{"packed-refs", "packed-refs.new", "HEAD", "reftable/tables.list"}, ref) || slices.Contains(refs, ref) {
			return &lock
		}
	}
	return nil
}
