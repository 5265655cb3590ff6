package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// MaxObjectSize is the greatest size in bytes of an object that is read whole (a commit, a tree, anything through Raw): a few kilobytes of pack can inflate to gigabytes of commit message. Blobs has no such limit.
const MaxObjectSize = 64 << 20

// Repository reads one git repository through one long-running `git cat-file --batch-command --buffer`
// (git 2.36 or later).
//
// It is safe for concurrent use; calls take turns, so a callback of Blobs must not call its own Repository. When git
// dies, or a call stops half-way (its context ended, a callback returned an error), that call's error says so, the git
// process is ended, and the next call starts a new one: the Repository stays usable until Close or the end of
// OpenRepository's context.
//
// References of `git replace` and grafts are ignored: an oid means the bytes that hash to it.
type Repository struct {
	dir   string
	env   []string
	ctx   context.Context // OpenRepository's
	close context.CancelCauseFunc
	turn  chan struct{} // holds one token while a call uses git: a mutex that a context can leave
	git   *catFile      // nil: to be started; guarded by turn
}

// OpenRepository starts reading the repository whose GIT_DIR is dir. env are extra variables, such as those of a
// push's quarantine (GIT_OBJECT_DIRECTORY, GIT_ALTERNATE_OBJECT_DIRECTORIES). The processes live no longer than ctx;
// Close must be called in any case. Errors: *FormatError for a repository with SHA-256 objects, *GitError with git's
// own words if dir is no repository.
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
	r := &Repository{dir: abs, env: gitEnv(abs, env), turn: make(chan struct{}, 1)}
	r.ctx, r.close = context.WithCancelCause(ctx)
	if err := r.use(r.ctx, func(*catFile) error { return nil }); err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return r, nil
}

// gitEnv is git's whole environment: nothing of the server's own but PATH and HOME. What the repository's meaning
// hangs on comes last, so that extra cannot change it.
func gitEnv(dir string, extra []string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	env = append(env, extra...)
	return append(env, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_DIR="+dir,
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null", "GIT_NO_LAZY_FETCH=1")
}

// IsShallow tells whether the repository lacks commits that its own ones name (git-clone(1), --depth).
func (r *Repository) IsShallow() bool {
	info, err := os.Stat(filepath.Join(r.dir, "shallow"))
	return err == nil && info.Size() > 0
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
		if r.git, err = startCatFile(r.ctx, r.dir, r.env); err != nil {
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
			return fmt.Errorf("read repository %s: %w", r.dir, context.Cause(c))
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
	return &GitError{Dir: r.dir, Command: "cat-file", Err: cause, Stderr: p.stderr.String()}
}

// greet asks a new git for the one object that every SHA-1 repository has, even an empty one: the tree without entries.
// It is the cheapest way (no process of its own) to learn that git runs, knows the options, takes dir for a repository,
// and means SHA-1 by 40 hex digits.
func (r *Repository) greet(p *catFile) error {
	oid := treeOID(nil)
	p.pending = 1
	p.ask("info", []OID{oid})
	h, err := p.readHeader(oid)
	if err != nil {
		return err
	}
	if !h.missing {
		p.pending--
		p.greeted = true
		return nil
	}
	format, _, err := r.run(r.ctx, "rev-parse", "--show-object-format")
	if err != nil {
		return err
	}
	return &FormatError{Dir: r.dir, Format: strings.TrimSpace(string(format))}
}

// read reads one object whole and checks that its bytes hash to oid. want is its type, or "" for any.
func (r *Repository) read(ctx context.Context, want string, oid OID) (typ string, data []byte, err error) {
	var h header
	err = r.use(ctx, func(p *catFile) (err error) {
		p.pending = 1
		p.ask("contents", []OID{oid})
		if h, err = p.readHeader(oid); err != nil {
			return err
		}
		if h.missing {
			return r.missing(ctx, want, oid)
		}
		if h.size > MaxObjectSize {
			return &TooLargeError{OID: oid, Type: h.typ, Size: h.size} // still pending: git is ended, not read dry
		}
		c := &content{p: p, left: h.size}
		data = make([]byte, h.size)
		if _, err := io.ReadFull(c, data); err != nil {
			return err
		}
		return c.finish()
	})
	if err != nil {
		return "", nil, err
	}
	if want != "" && want != h.typ {
		return "", nil, notFound(want, oid, h.typ)
	}
	if got := hashObject(h.typ, data); got != oid {
		return "", nil, fmt.Errorf("read %s %s: its bytes hash to %s: %w", h.typ, oid, got, ErrCorrupt)
	}
	return h.typ, data, nil
}

// missing tells an object that is not there from one that cat-file also calls missing, since it cannot make sense of
// it: `cat-file -e` only looks whether it is there.
func (r *Repository) missing(ctx context.Context, want string, oid OID) error {
	_, status, err := r.run(ctx, "cat-file", "-e", "--end-of-options", oid.String())
	switch {
	case status == 1:
		return notFound(want, oid, "")
	case err != nil:
		return err
	}
	if _, _, err = r.run(ctx, "cat-file", "-t", "--end-of-options", oid.String()); err == nil {
		return notFound(want, oid, "") // it came in the meantime
	}
	return fmt.Errorf("read object %s: %w: %w", oid, ErrCorrupt, err)
}

// notFound wraps ErrNotFound; want is a type or "", and is that of the object that has the oid, or "".
func notFound(want string, oid OID, is string) error {
	what := cmp.Or(want, "object")
	if is != "" {
		return fmt.Errorf("read %s %s: it is a %s: %w", what, oid, is, ErrNotFound)
	}
	return fmt.Errorf("read %s %s: %w", what, oid, ErrNotFound)
}

// Tree reads a tree's entries, in git's order, without sizes and sha256s. A *TreeError refuses what git itself would not
// have written: a zero-padded or old mode, a name twice, a bad name, a wrong order. The error wraps ErrNotFound if
// nothing or no tree has this oid.
func (r *Repository) Tree(oid OID) ([]Entry, error) {
	_, data, err := r.read(r.ctx, "tree", oid)
	if err != nil {
		return nil, err
	}
	entries, err := parseTree(data, oid.size())
	if err != nil {
		return nil, &TreeError{OID: oid, Err: err}
	}
	return entries, nil
}

// Raw reads an object of any type with its header ("commit 123\x00…"), so that its hash is the oid.
func (r *Repository) Raw(oid OID) ([]byte, error) {
	typ, data, err := r.read(r.ctx, "", oid)
	if err != nil {
		return nil, err
	}
	return append(objectHeader(typ, int64(len(data))), data...), nil
}

// TreeAt resolves path ("" is the root, else slash-separated without leading slash) in commit's tree.
// above are the trees from the root down to, without, tree. *NoPathError if there is no directory there. The tree
// itself is not read.
func (r *Repository) TreeAt(commit *Commit, path string) (tree OID, above []OID, err error) {
	tree = commit.Tree
	if path == "" {
		return tree, nil, nil
	}
	elements := strings.Split(path, "/")
	for i, name := range elements {
		here := strings.Join(elements[:i+1], "/")
		no := func(found string) error {
			return &NoPathError{Commit: commit.OID, Path: path, Found: fmt.Sprintf("%q %s", here, found)}
		}
		if err := CheckName(name); err != nil {
			return OID{}, nil, no("is not a path: " + err.Error())
		}
		entries, err := r.Tree(tree)
		if err != nil {
			return OID{}, nil, err
		}
		above = append(above, tree)
		e := find(entries, name)
		if e == nil {
			return OID{}, nil, no("does not exist")
		}
		if e.Mode != filemode.Dir {
			return OID{}, nil, no("is " + kindOf(e.Mode))
		}
		tree = e.OID
	}
	return tree, above, nil
}

func find(entries []Entry, name string) *Entry {
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i]
		}
	}
	return nil
}

func kindOf(m filemode.FileMode) string {
	switch m {
	case filemode.Symlink:
		return "a symbolic link"
	case filemode.Submodule:
		return "a submodule"
	}
	return "a file"
}
