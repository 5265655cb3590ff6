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

// Repository is a repository of another server, or of none, as git itself sees it.
type Repository struct {
	GitDir   string // the common directory, which linked worktrees share; absolute
	WorkTree string // absolute; "" if the repository is bare
	HooksDir string // where git receive-pack looks for hooks, without symbolic links as far as it exists; absolute

	// HooksPath is core.hooksPath as git expands it, "" if it is not set, and HooksScope whose setting it is: "local",
	// "worktree", "global" or "system".
	HooksPath  string
	HooksScope string

	Owner int // the user id that GitDir belongs to
}

// Find finds the repository that path is in: a bare one, a work tree or any directory of it, a linked worktree, a
// submodule, or the inside of a git directory. Git finds it, with the user's own configuration: that has git's rules
// about repositories that are not safe (safe.directory, safe.bareRepository), and may have core.hooksPath. GIT_DIR and
// the like in the environment do not count: path says which repository is meant.
//
// Errors are fault.Refused, with git's words for what is not a repository, not safe or not usable.
func Find(ctx context.Context, path string) (*Repository, error) {
	out, err := git.AsUser(ctx, "-C", path, "rev-parse", "--path-format=absolute",
		"--git-common-dir", "--is-inside-work-tree")
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
	r := &Repository{GitDir: dir}
	if inside == "true" {
		top, err := git.AsUser(ctx, "-C", path, "rev-parse", "--path-format=absolute", "--show-toplevel")
		if err != nil {
			return nil, fmt.Errorf("find work tree: %w", err)
		}
		r.WorkTree = strings.TrimSuffix(top, "\n")
	}
	if err := r.read(ctx); err != nil {
		return nil, fmt.Errorf("find repository %s: %w", r.GitDir, err)
	}
	return r, nil
}

// read fills in what the git directory says.
func (r *Repository) read(ctx context.Context) error {
	info, err := os.Stat(r.GitDir)
	if err != nil {
		return err
	}
	r.Owner = int(info.Sys().(*syscall.Stat_t).Uid)
	if r.WorkTree == "" {
		if err := r.findWorkTree(ctx); err != nil {
			return err
		}
	}
	return r.findHooks(ctx)
}

// findWorkTree finds the work tree of a git directory that was named itself.
func (r *Repository) findWorkTree(ctx context.Context) error {
	bare, err := r.config(ctx, "bool", "core.bare")
	if err != nil || bare.value == "true" {
		return err
	}
	tree, err := r.config(ctx, "path", "core.worktree")
	switch {
	case err != nil:
		return err
	case tree.set && filepath.IsAbs(tree.value):
		r.WorkTree = filepath.Clean(tree.value)
	case tree.set:
		r.WorkTree = filepath.Join(r.GitDir, tree.value)
	case filepath.Base(r.GitDir) == ".git":
		r.WorkTree = filepath.Dir(r.GitDir)
	}
	return nil
}

// findHooks finds the directory that receive-pack runs hooks from. A relative core.hooksPath is relative to where
// hooks run, and receive-pack runs them in the git directory, also where there is a work tree; "git rev-parse
// --git-path hooks" takes it as relative to where that is called.
func (r *Repository) findHooks(ctx context.Context) error {
	path, err := r.config(ctx, "path", "core.hooksPath")
	if err != nil {
		return err
	}
	r.HooksPath, r.HooksScope = path.value, path.scope
	switch {
	case path.set && path.value == "":
		return fault.Refuse("take it out: git config --"+path.scope+" --unset core.hooksPath",
			"core.hooksPath is empty (%s configuration), so that git finds no hooks", path.scope)
	case !path.set:
		r.HooksDir = filepath.Join(r.GitDir, "hooks")
	case filepath.IsAbs(path.value):
		r.HooksDir = filepath.Clean(path.value)
	default:
		r.HooksDir = filepath.Join(r.GitDir, path.value)
	}
	real, err := filepath.EvalSymlinks(r.HooksDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if info, err := os.Lstat(r.HooksDir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return fault.Refuse("make the directory that it names, or remove the link",
				"%s is a symbolic link to nowhere", r.HooksDir)
		}
		if parent, err := filepath.EvalSymlinks(filepath.Dir(r.HooksDir)); err == nil {
			r.HooksDir = filepath.Join(parent, filepath.Base(r.HooksDir)) // its name once it is made
		}
		return nil
	case err != nil:
		return err
	}
	if info, err := os.Stat(real); err != nil {
		return err
	} else if !info.IsDir() {
		return fault.Refuse("git runs no hooks there: see git config --show-origin core.hooksPath",
			"%s, where git looks for hooks, is not a directory", r.HooksDir)
	}
	r.HooksDir = real
	return nil
}

// checkOwner refuses to change a repository of another user: what root wrote there would not be the owner's to change,
// and what git runs there runs with the rights of each pusher. verb is the command that would change it.
func (r *Repository) checkOwner(verb string) error {
	if r.Owner == os.Geteuid() {
		return nil
	}
	name := "#" + strconv.Itoa(r.Owner)
	if u, err := user.LookupId(strconv.Itoa(r.Owner)); err == nil {
		name = u.Username
	}
	return &fault.Error{
		Kind: fault.Refused, What: fmt.Sprintf("repository %s belongs to %s", r.GitDir, name),
		Reason: ReasonOwner, About: []string{name, verb, r.GitDir},
	}
}

// setting is one value of git's configuration.
type setting struct {
	value, scope string
	set          bool
}

// config asks for a setting, of any scope.
func (r *Repository) config(ctx context.Context, kind, key string) (setting, error) {
	out, err := r.git(ctx, "config", "-z", "--show-scope", "--type="+kind, "--get", key)
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

// TakesPushOptions tells whether git lets pushers give options (git push -o): without them there is no dry run.
func (r *Repository) TakesPushOptions(ctx context.Context) (bool, error) {
	takes, err := r.config(ctx, "bool", "receive.advertisePushOptions")
	return takes.value == "true", err
}

// git asks about the repository that was found, and looks for no other.
func (r *Repository) git(ctx context.Context, args ...string) (string, error) {
	return git.AsUser(ctx, append([]string{"-C", r.GitDir, "--git-dir=" + r.GitDir}, args...)...)
}

// notFound is what git says about a directory that is not a repository, or not a safe one, with git's remedy.
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

// Name is the repository's name by default: that of its directory, without ".git".
func (r *Repository) Name() string {
	dir := r.GitDir
	if r.WorkTree != "" && filepath.Base(dir) == ".git" {
		dir = r.WorkTree
	}
	return strings.TrimSuffix(filepath.Base(dir), ".git")
}

// Place is how people know the repository: by its work tree, or the bare repository's directory.
func (r *Repository) Place() string {
	if r.WorkTree != "" {
		return r.WorkTree
	}
	return r.GitDir
}
