package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"refship/deploy/tree"
)

// Repository reads one git repository through one long-running `git cat-file --batch-command --buffer` (git 2.36 or
// newer). What a small push has brought is read without it (readPushed).
//
// It is safe for concurrent use. Calls take turns, so a callback of Blobs must not call its own Repository. When git
// dies, or a call stops half-way (its context ended, a callback returned an error), that call's error says so, git is
// ended, and the next call starts a new one: the Repository stays usable until Close or the end of OpenRepository's
// context.
type Repository struct {
	dir   string
	env   []string
	ctx   context.Context // of OpenRepository: it ends every git
	close context.CancelCauseFunc
	turn  chan struct{} // holds one token while a call uses git: a mutex that a context can leave
	git   *catFile      // nil: to be started; guarded by turn

	format tree.Format          // of its objects, from OpenRepository on
	pushed map[OID]pushedObject // read already; nil: git is asked for all

	memory atomic.Int64 // what each git may take for itself, in bytes; 0: as much as it likes
	nice   atomic.Int64 // steps of Lower
}

// OpenRepository starts reading the repository whose GIT_DIR is dir. env are extra variables, such as those of a
// push's quarantine (GIT_OBJECT_DIRECTORY, GIT_ALTERNATE_OBJECT_DIRECTORIES). The processes live no longer than ctx;
// Close must be called in any case. If dir is no repository, the error is an *Error with git's own words.
func OpenRepository(ctx context.Context, dir string, env []string) (*Repository, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	// exec blames git's program for a missing working directory.
	if info, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open repository: %s is not a directory", abs)
	}
	r := &Repository{dir: abs, env: Env(abs, slices.Concat(env, asStored)...), turn: make(chan struct{}, 1)}
	r.ctx, r.close = context.WithCancelCause(ctx)
	if r.pushed = readPushed(env); r.pushed != nil {
		return r, nil // its objects have SHA-1 names
	}
	err = r.use(r.ctx, func(p *catFile) error {
		r.format = p.format
		return nil
	})
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return r, nil
}

// Dir is the repository's GIT_DIR, as an absolute path.
func (r *Repository) Dir() string { return r.dir }

// Format is that of the repository's objects. It has none of an oid of another format.
func (r *Repository) Format() tree.Format { return r.format }

// asStored makes git take history as the commits have it: no grafts and no word about that. A blob that is larger than
// core.bigFileThreshold, and no delta, is not inflated in memory.
var asStored = []string{
	"GIT_GRAFT_FILE=/dev/null",
	"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=advice.graftFileDeprecated", "GIT_CONFIG_VALUE_0=false",
	"GIT_CONFIG_KEY_1=core.bigFileThreshold", "GIT_CONFIG_VALUE_1=16m",
}

// IsShallow tells whether the repository lacks commits that its own ones name (git-clone(1), --depth).
func (r *Repository) IsShallow() bool {
	info, err := os.Stat(filepath.Join(r.dir, "shallow"))
	return err == nil && info.Size() > 0
}

// LimitMemory bounds what each git that reads this repository from now on may take for itself, in bytes; 0: as much as
// it likes. One that wants more ends, and the call's error is one of [IsOutOfMemory]. A git that runs takes its first
// limit, or a higher one, over; for a lower one the next call starts a new git, without what that one holds. It must
// not be called from a callback.
func (r *Repository) LimitMemory(bytes int64) error {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	before := r.memory.Swap(bytes)
	switch {
	case r.git == nil || bytes == before:
		return nil
	case before == 0 || bytes > before:
		return limitMemory(r.git.cmd.Process.Pid, bytes)
	}
	_ = r.git.end() // it is killed: its exit status says nothing
	r.git = nil
	return nil
}

// Lower lets others go before each git that reads this repository from now on; see the function [Lower]. It must not be
// called from a callback.
func (r *Repository) Lower(steps int) error {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	r.nice.Store(int64(steps))
	if r.git == nil {
		return nil
	}
	return Lower(r.git.cmd.Process.Pid, steps)
}

func (r *Repository) limits() limits {
	return limits{memory: r.memory.Load(), nice: int(r.nice.Load())}
}

// Close ends git and every running call, and waits for them. It must not be called from a callback.
func (r *Repository) Close() error {
	r.close(ErrClosed)
	r.turn <- struct{}{}
	if r.git != nil {
		_ = r.git.end() // it was killed: its exit status says nothing
		r.git = nil
	}
	<-r.turn
	return nil
}

// use lends the running git to fn, started if need be, and keeps it only if fn left no answer unread.
func (r *Repository) use(ctx context.Context, fn func(*catFile) error) (err error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
	if err := r.stopped(ctx); err != nil {
		return err
	}
	if r.git == nil {
		if r.git, err = startCatFile(r.ctx, r.dir, r.env, r.limits()); err != nil {
			return err
		}
	}
	p := r.git
	keep := context.AfterFunc(ctx, p.kill)
	defer func() { // deferred, since fn may panic
		killed := !keep()
		if !killed && p.pending == 0 && p.err == nil {
			return
		}
		ended := p.end()
		r.git = nil
		if p.err != nil {
			err = r.died(ctx, p, ended)
		}
	}()
	if !p.greeted {
		if err := r.greet(p); err != nil {
			return err
		}
	}
	return fn(p)
}

// stopped tells why nothing more may be asked.
func (r *Repository) stopped(ctx context.Context) error {
	for _, c := range []context.Context{ctx, r.ctx} {
		if c.Err() != nil {
			return fmt.Errorf("read repository: %w", context.Cause(c))
		}
	}
	return nil
}

// died says why the answers broke off.
func (r *Repository) died(ctx context.Context, p *catFile, ended error) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	cause := p.err
	if errors.Is(cause, io.ErrUnexpectedEOF) {
		cause = ended
		if ended == nil {
			cause = errors.New("ended before it answered")
		}
	}
	return &Error{Command: "cat-file", Said: p.stderr.text(r.dir), Err: cause}
}

// greet asks a new git for the one object that every repository has, even an empty one: the tree without entries. It is
// the cheapest way (no process of its own) to learn that git runs, knows the options, takes dir for a repository, and
// by which hash that names objects. A branch may have the name that the tree has in the other format: only an answer
// with the very oid counts.
func (r *Repository) greet(p *catFile) error {
	formats := []tree.Format{tree.FormatSHA1, tree.FormatSHA256}
	var oids []OID
	for _, f := range formats {
		oids = append(oids, (&tree.Node{}).OID(f))
	}
	p.ask(askInfo, oids)
	for i, oid := range oids {
		line, err := p.readLine()
		if err != nil {
			return err
		}
		p.pending--
		if line == oid.String()+" tree 0" && !p.greeted {
			p.greeted, p.format = true, formats[i]
		}
	}
	if p.greeted {
		return nil
	}
	format, err := r.run(r.ctx, "rev-parse", "--show-object-format")
	if err != nil {
		return err
	}
	if _, err = tree.ParseFormat(strings.TrimSpace(string(format))); err == nil {
		err = notFound("tree", oids[0], "")
	}
	return err
}

// run runs a git that ends by itself, and gives its standard output.
func (r *Repository) run(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })()
	return output(ctx, command(ctx, r.dir, r.env, args...), args[0], r.limits())
}
