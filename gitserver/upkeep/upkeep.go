package upkeep

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"refship/deploy/disk"
	"refship/deploy/git"
)

const (
	// Bounds: with more there is something to do.
	maxPacks        = 50
	maxLooseRefs    = 200
	maxLooseObjects = 2000
	// beside is how many times as much there may be before it is done beside pushes.
	beside = 4
	// lockAge is how old a lock must be to be a dead git's.
	lockAge = time.Minute
	// fileAge is how long what a dead git left must not have changed.
	fileAge = time.Hour
	// A repository is let be for a pause after a failure, each time for twice as long.
	firstPause, longestPause = 10 * time.Minute, 6 * time.Hour
	// memoryWait is how long git's memory is waited for, before the upkeep is put off.
	memoryWait = time.Minute
)

// PushSettings are git's options for a push, with which it waits for the locks that pack-refs holds: 10 s for that of
// all packed refs, which are written and synced meanwhile, and 2 s for that of a single ref.
func PushSettings() []string {
	return []string{"-c", "core.packedRefsTimeout=10000", "-c", "core.filesRefLockTimeout=2000"}
}

// Config is what a Keeper needs.
type Config struct {
	// Memory waits for memory for a git that packs the repository at dir. The git may take limit bytes for itself,
	// until release is called.
	Memory func(ctx context.Context, dir string) (limit int64, release func(), err error)
	Log    *slog.Logger
}

// Stats are counts since the start.
type Stats struct {
	Done, Failed int           // repositories kept
	Took         time.Duration // all of them
	Locks        int           // stale locks removed
}

// Keeper keeps repositories.
type Keeper struct {
	cfg  Config
	wake chan struct{} // holds one token while there is something to look at

	// Constants, but for tests:
	firstPause, memoryWait time.Duration
	limitMemory            func(pid int, bytes int64) error

	mu      sync.Mutex
	known   map[string]*repository // by directory
	waiting []*repository          // to be looked at, after a push
	later   []*repository          // to be looked at when nothing else is
	looks   int                    // repositories that were looked at, since the start
	stats   Stats
}

// repository is one that has a visit, waits to be looked at, is looked at, or is let be.
type repository struct {
	name, dir string
	visits    map[*visit]struct{}
	again     time.Time // until when it is let be, and then looked at; zero: it is not let be
	failures  int       // of its upkeep, one after the other

	// locks is held from a look at the locks until the stale ones are removed: a lock that is made meanwhile, in place of
	// one that was removed, would go with it.
	locks sync.Mutex
}

// visit is a push or an upkeep that runs.
type visit struct{ since time.Time }

// New makes a Keeper. Run must follow.
func New(cfg Config) *Keeper {
	return &Keeper{
		cfg: cfg, wake: make(chan struct{}, 1), known: make(map[string]*repository),
		firstPause: firstPause, memoryWait: memoryWait, limitMemory: git.LimitMemory,
	}
}

// Stats gives the counts.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stats
}

// Enter begins a push to a repository, and removes the locks that a dead git left there. leave must be called at its
// end.
func (k *Keeper) Enter(name, dir string) (leave func()) {
	r, v := k.enter(name, dir)
	k.removeLocks(r)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(r.visits, v)
		if !slices.Contains(k.waiting, r) {
			k.waiting = append(k.waiting, r)
		}
		k.awake()
	}
}

// Later has a repository looked at that has no push, when no other one waits.
func (k *Keeper) Later(name, dir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.later = append(k.later, k.know(name, dir))
	k.awake()
}

func (k *Keeper) awake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// enter adds a visit. What has one stays known until it was looked at without any.
func (k *Keeper) enter(name, dir string) (*repository, *visit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.know(name, dir)
	v := &visit{since: time.Now()}
	r.visits[v] = struct{}{}
	return r, v
}

// know gives the repository at dir. k.mu is held.
func (k *Keeper) know(name, dir string) *repository {
	r := k.known[dir]
	if r == nil {
		r = &repository{name: name, dir: dir, visits: make(map[*visit]struct{})}
		k.known[dir] = r
	}
	return r
}

// Run keeps repositories until ctx ends, which ends a git that runs.
func (k *Keeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r, pause := k.next()
		if r != nil {
			k.keep(ctx, r)
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// next takes the repository that is looked at next, or says how long there is none unless one comes.
func (k *Keeper) next() (r *repository, pause time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, queue := range []*[]*repository{&k.waiting, &k.later} {
		if len(*queue) > 0 {
			r = (*queue)[0]
			*queue = (*queue)[1:]
			return r, 0
		}
	}
	pause = longestPause
	for _, r := range k.known {
		switch left := time.Until(r.again); {
		case r.again.IsZero():
		case left <= 0:
			r.again = time.Time{}
			return r, 0
		default:
			pause = min(pause, left)
		}
	}
	return nil, pause
}

// keep looks at a repository, and does what there is to do.
func (k *Keeper) keep(ctx context.Context, r *repository) {
	defer k.forget(r)
	busy, letBe := k.isBusy(r)
	if letBe {
		return
	}
	release, err := disk.TryShareDir(r.dir)
	if locked := (*disk.LockedError)(nil); errors.As(err, &locked) || errors.Is(err, fs.ErrNotExist) {
		k.isWell(r) // it is being renamed or removed, or was
		return
	}
	if err != nil {
		k.fail(ctx, r, err)
		return
	}
	defer release()
	before, err := look(r.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !before.exceeds(1): // it was removed, or needs nothing
		k.isWell(r)
		return
	case err != nil:
		k.fail(ctx, r, err)
		return
	case busy && !before.exceeds(beside):
		return // the end of a push that runs has it looked at again
	}
	resume, err := disk.TryShareDir(objects(r.dir))
	if locked := (*disk.LockedError)(nil); errors.As(err, &locked) {
		k.putOff(ctx, r, "a backup of it is being taken")
		return
	}
	if err != nil {
		k.fail(ctx, r, err)
		return
	}
	defer resume()
	_, v := k.enter(r.name, r.dir)
	defer k.leave(r, v)
	k.removeLocks(r)
	if !busy { // the quarantine of a push whose check takes hours does not change either
		k.removeLeft(ctx, r, before.left)
	}
	began := time.Now()
	after := &contents{}
	if err = k.work(ctx, r.dir); err == nil {
		after, err = look(r.dir)
	}
	switch {
	case err == nil:
		k.done(ctx, r, before, after, time.Since(began))
	case ctx.Err() != nil: // the server ends
	case errors.Is(err, errNoMemory):
		k.putOff(ctx, r, "fetches take all of git's memory")
	default:
		k.fail(ctx, r, err)
	}
}

func (k *Keeper) leave(r *repository, v *visit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(r.visits, v)
}

// forget drops a repository that was looked at, if nothing has to be remembered of it.
func (k *Keeper) forget(r *repository) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looks++
	queued := slices.Contains(k.waiting, r) || slices.Contains(k.later, r)
	if len(r.visits) == 0 && !queued && r.again.IsZero() && r.failures == 0 {
		delete(k.known, r.dir)
	}
}

// removeLeft removes what dead gits left.
func (k *Keeper) removeLeft(ctx context.Context, r *repository, paths []string) {
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			k.cfg.Log.WarnContext(ctx, "what a dead git left cannot be removed", "repository", r.name, "error", err)
			continue
		}
		k.cfg.Log.InfoContext(ctx, "removed what a dead git left", "repository", r.name, "path", path)
	}
}

// isBusy tells whether a repository has a push, and whether it is let be.
func (k *Keeper) isBusy(r *repository) (busy, letBe bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(r.visits) > 0, time.Now().Before(r.again)
}

// isWell notes that a repository needs nothing.
func (k *Keeper) isWell(r *repository) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r.again, r.failures = time.Time{}, 0
}

func (k *Keeper) done(ctx context.Context, r *repository, before, after *contents, took time.Duration) {
	k.isWell(r)
	k.mu.Lock()
	k.stats.Done++
	k.stats.Took += took
	k.mu.Unlock()
	k.cfg.Log.InfoContext(ctx, "upkeep", "repository", r.name, "packs", before.packs, "packs_after", after.packs,
		"loose_refs", before.looseRefs, "loose_objects", before.looseObjects, "ms", took.Milliseconds())
}

func (k *Keeper) fail(ctx context.Context, r *repository, err error) {
	k.mu.Lock()
	pause := min(k.firstPause<<min(r.failures, 16), longestPause)
	r.again = time.Now().Add(pause)
	r.failures++
	k.stats.Failed++
	k.mu.Unlock()
	k.cfg.Log.ErrorContext(ctx, "upkeep failed", "repository", r.name, "error", err, "again_after", pause)
}

// putOff lets a repository be that could not be kept now.
func (k *Keeper) putOff(ctx context.Context, r *repository, why string) {
	k.mu.Lock()
	r.again = time.Now().Add(k.firstPause)
	k.mu.Unlock()
	k.cfg.Log.WarnContext(ctx, "upkeep put off: "+why, "repository", r.name, "again_after", k.firstPause)
}

// removeLocks removes the locks that no running git of this server holds.
func (k *Keeper) removeLocks(r *repository) {
	r.locks.Lock()
	defer r.locks.Unlock()
	loose, err := git.ReadLoose(r.dir)
	if err != nil {
		k.cfg.Log.Error("locks cannot be looked for", "repository", r.name, "error", err)
		return
	}
	for _, lock := range loose.Locks {
		age := time.Since(lock.Since)
		if age < lockAge || !k.isOlder(r, lock.Since) {
			continue
		}
		if err := os.Remove(filepath.Join(r.dir, lock.Path)); err != nil {
			k.cfg.Log.Error("stale lock cannot be removed", "repository", r.name, "lock", lock.Path, "error", err)
			continue
		}
		k.mu.Lock()
		k.stats.Locks++
		k.mu.Unlock()
		k.cfg.Log.Warn("removed a stale lock, which a dead git left", "repository", r.name, "lock", lock.Path,
			"age", age.Round(time.Second))
	}
}

// isOlder tells whether all that runs in a repository began after a time. Times of files are a little behind.
func (k *Keeper) isOlder(r *repository, since time.Time) bool {
	const coarse = time.Second
	k.mu.Lock()
	defer k.mu.Unlock()
	for v := range r.visits {
		if v.since.Before(since.Add(coarse)) {
			return false
		}
	}
	return true
}
