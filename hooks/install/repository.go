package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

// Repository is a repository that lives somewhere already, as git itself sees it.
type Repository struct {
	GitDir   string // the common directory, which linked worktrees share; absolute
	WorkTree string // absolute; "" if the repository is bare
	HooksDir string // where git-receive-pack looks for hooks, without symbolic links as far as it exists; absolute

	// HooksPath is core.hooksPath as git expands it, "" if it is not set, and HooksScope whose setting it is: "local",
	// "worktree", "global" or "system".
	HooksPath  string
	HooksScope string

	Owner int // the user id that GitDir belongs to
}

// Find finds the repository that path is in: a bare one, a work tree or any directory of it, a linked worktree, a
// submodule, or the inside of a git directory. Git finds it, with the user's own configuration, since git's rules about
// repositories that are not safe (safe.directory, safe.bareRepository) are there, and core.hooksPath may be. The
// environment's GIT_DIR and the like do not count: path says which repository is meant.
//
// Errors are fault.Refused with git's words for what is no repository, not safe or not usable.
func Find(ctx context.Context, path string) (*Repository, error) {
	out, err := git.AsUser(ctx, "-C", path, "rev-parse", "--path-format=absolute", "--git-common-dir", "--is-inside-work-tree")
	if err != nil {
		return nil, fmt.Errorf("find repository: %w", notFound(path, err))
	}
	dir, inside, ok := strings.Cut(strings.TrimSuffix(out, "\n"), "\n")
	if last := strings.LastIndexByte(inside, '\n'); ok && last >= 0 { // a line feed in a directory's name
		dir, inside = dir+"\n"+inside[:last], inside[last+1:]
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("find repository: %w", err)
	}
	h := &Repository{GitDir: dir}
	if inside == "true" {
		top, err := git.AsUser(ctx, "-C", path, "rev-parse", "--path-format=absolute", "--show-toplevel")
		if err != nil {
			return nil, fmt.Errorf("find work tree: %w", err)
		}
		h.WorkTree = strings.TrimSuffix(top, "\n")
	}
	if err := h.look(ctx); err != nil {
		return nil, fmt.Errorf("find repository %s: %w", h.GitDir, err)
	}
	return h, nil
}

// look fills in what the git directory says.
func (h *Repository) look(ctx context.Context) error {
	info, err := os.Stat(h.GitDir)
	if err != nil {
		return err
	}
	h.Owner = int(info.Sys().(*syscall.Stat_t).Uid)
	format, err := h.git(ctx, "rev-parse", "--show-object-format")
	if err != nil {
		return err
	}
	if format := strings.TrimSpace(format); format != "sha1" {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("repository %s uses %s objects", h.GitDir, format),
			Remedy: "only sha1 repositories can be deployed: make one with git init --object-format=sha1 and push to it",
		}
	}
	if h.WorkTree == "" {
		if err := h.lookForWorkTree(ctx); err != nil {
			return err
		}
	}
	return h.lookForHooks(ctx)
}

// lookForWorkTree finds the work tree of a git directory that was named itself.
func (h *Repository) lookForWorkTree(ctx context.Context) error {
	bare, err := h.config(ctx, "bool", "core.bare")
	if err != nil || bare.value == "true" {
		return err
	}
	tree, err := h.config(ctx, "path", "core.worktree")
	switch {
	case err != nil:
		return err
	case tree.set && filepath.IsAbs(tree.value):
		h.WorkTree = filepath.Clean(tree.value)
	case tree.set:
		h.WorkTree = filepath.Join(h.GitDir, tree.value)
	case filepath.Base(h.GitDir) == ".git":
		h.WorkTree = filepath.Dir(h.GitDir)
	}
	return nil
}

// lookForHooks finds the directory that receive-pack runs hooks from. A relative core.hooksPath is relative to where
// hooks run, and receive-pack runs them in the git directory, also where there is a work tree; "git rev-parse --git-path
// hooks" takes it as relative to where that is called.
func (h *Repository) lookForHooks(ctx context.Context) error {
	path, err := h.config(ctx, "path", "core.hooksPath")
	if err != nil {
		return err
	}
	h.HooksPath, h.HooksScope = path.value, path.scope
	switch {
	case path.set && path.value == "":
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("core.hooksPath is empty (%s configuration), so that git finds no hooks", path.scope),
			Remedy: "take it out: git config --" + path.scope + " --unset core.hooksPath",
		}
	case !path.set:
		h.HooksDir = filepath.Join(h.GitDir, "hooks")
	case filepath.IsAbs(path.value):
		h.HooksDir = filepath.Clean(path.value)
	default:
		h.HooksDir = filepath.Join(h.GitDir, path.value)
	}
	real, err := filepath.EvalSymlinks(h.HooksDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(h.HooksDir); err == nil {
			return &fault.Error{Kind: fault.Refused, What: h.HooksDir + " is a symbolic link to nowhere", Remedy: "make the directory that it names, or remove the link"}
		}
		if parent, err := filepath.EvalSymlinks(filepath.Dir(h.HooksDir)); err == nil {
			h.HooksDir = filepath.Join(parent, filepath.Base(h.HooksDir)) // its name once it is made
		}
		return nil
	case err != nil:
		return err
	}
	if info, err := os.Stat(real); err != nil {
		return err
	} else if !info.IsDir() {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s, where git looks for hooks, is no directory", h.HooksDir),
			Remedy: "git runs no hooks there: see git config --show-origin core.hooksPath",
		}
	}
	h.HooksDir = real
	return nil
}

// checkOwner refuses to change what is somebody else's: what root writes there would not be its owner's to change, and
// what git runs there runs as whoever pushes.
func (h *Repository) checkOwner(verb string) error {
	if h.Owner == os.Geteuid() {
		return nil
	}
	name := "#" + strconv.Itoa(h.Owner)
	if u, err := user.LookupId(strconv.Itoa(h.Owner)); err == nil {
		name = u.Username
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("repository %s belongs to %s", h.GitDir, name),
		Remedy: fmt.Sprintf("sudo -u %s refship hook %s %s", text.Quote(name), verb, text.Quote(h.GitDir)),
	}
}

// setting is one value of git's configuration.
type setting struct {
	value, scope string
	set          bool
}

// config asks for a setting of whatever scope.
func (h *Repository) config(ctx context.Context, kind, key string) (setting, error) {
	out, err := h.git(ctx, "config", "-z", "--show-scope", "--type="+kind, "--get", key)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return setting{}, nil
	}
	if err != nil {
		return setting{}, err
	}
	scope, value, _ := strings.Cut(strings.TrimSuffix(out, "\x00"), "\x00")
	return setting{value: value, scope: scope, set: true}, nil
}

// git asks about the repository that was found, and looks for no other.
func (h *Repository) git(ctx context.Context, args ...string) (string, error) {
	return git.AsUser(ctx, append([]string{"-C", h.GitDir, "--git-dir=" + h.GitDir}, args...)...)
}

// notFound puts git's words about a directory that it takes for no repository, or for one that is not safe, into an error
// with git's remedy.
func notFound(path string, err error) error {
	var g *git.Error
	if !errors.As(err, &g) {
		return err
	}
	lines := strings.Split(strings.TrimPrefix(g.Said, "fatal: "), "\n")
	refused := &fault.Error{Kind: fault.Refused, What: lines[0]}
	switch {
	case strings.Contains(g.Said, "dubious ownership"):
		refused.Remedy = "git config --global --add safe.directory " + text.Quote(path)
		for _, line := range lines[1:] {
			if command := strings.TrimSpace(line); strings.HasPrefix(command, "git config ") {
				refused.Remedy = command
			}
		}
		refused.Remedy = "work as its owner, or, if you trust it: " + refused.Remedy
	case strings.Contains(g.Said, "safe.bareRepository"):
		refused.Remedy = "if you trust the bare repositories here: git config --global safe.bareRepository all"
	case strings.Contains(g.Said, "not a git repository"):
		refused.What = fmt.Sprintf("%s is in no git repository", path)
		refused.Remedy = "name a repository, or a directory in one"
	case strings.Contains(g.Said, "cannot change to"):
		refused.Remedy = "name a directory that is there and that you may read"
	default:
		return err
	}
	return refused
}

// Name is the repository's name where nobody has given it one: that of its directory, without ".git".
func (h *Repository) Name() string {
	dir := h.GitDir
	if h.WorkTree != "" && filepath.Base(dir) == ".git" {
		dir = h.WorkTree
	}
	return strings.TrimSuffix(filepath.Base(dir), ".git")
}

// Place is where people look for the repository: its work tree, or the bare repository.
func (h *Repository) Place() string {
	if h.WorkTree != "" {
		return h.WorkTree
	}
	return h.GitDir
}
