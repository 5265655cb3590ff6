package repos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/target"
)

// Create makes a bare repository of a format with these targets. HEAD is ref, a full ref name below refs/heads/. The
// repository appears whole or not at all. Errors have a reason where there is a repository of that name (ReasonExists), and
// where a target's namespace overlaps that of any other target of any repository (ReasonOverlap).
func (r Dir) Create(
	ctx context.Context, name string, f git.Format, ref string, targets []target.Target,
) (*Repository, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if err := checkHead(ref); err != nil {
		return nil, err
	}
	if err := git.CheckInstalled(ctx); err != nil {
		return nil, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.checkFree(name); err != nil {
		return nil, err
	}
	if err := r.checkNamespaces(name, targets, ""); err != nil {
		return nil, err
	}
	if err := r.build(ctx, name, f, ref, targets); err != nil {
		return nil, fmt.Errorf("create repository %s: %w", name, err)
	}
	return r.Find(name)
}

func checkHead(ref string) error {
	if git.CheckRef(ref) != nil || !strings.HasPrefix(ref, "refs/heads/") {
		return fault.New(fault.Usage, text.Mention(ref)+" is no branch's full ref name", "write it as refs/heads/main")
	}
	return nil
}

// lock keeps other processes from creating repositories and changing targets at the same time: overlaps are looked
// for in all of them.
func (r Dir) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(r.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make repositories directory: %w", err)
	}
	if unlock, err = disk.Lock(ctx, filepath.Join(r.Path, ".lock")); err != nil {
		return nil, fmt.Errorf("lock repositories: %w", err)
	}
	return unlock, nil
}

// build makes the repository beside its place and renames it there. The caller holds the lock.
func (r Dir) build(ctx context.Context, name string, f git.Format, ref string, targets []target.Target) error {
	dst := r.path(name)
	parent := filepath.Dir(dst)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	const unfinished = ".new-"
	// The lock is held, so what is unfinished was left by a process that died.
	stale, err := filepath.Glob(filepath.Join(globEscape(parent), unfinished+"*"))
	if err != nil {
		return err
	}
	removed, err := filepath.Glob(filepath.Join(globEscape(parent), removing+"*"))
	if err != nil {
		return err
	}
	stale = append(stale, removed...)
	for _, s := range stale {
		if err := os.RemoveAll(s); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(parent, unfinished)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // nothing is there after the rename
	if err := fill(ctx, tmp, name, f, ref, targets); err != nil {
		return err
	}
	made, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	if err := errors.Join(disk.SyncTree(made), made.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, dst); err != nil {
		return err
	}
	for d := parent; ; d = filepath.Dir(d) { // parents may be new, too
		if err := disk.Sync(d); err != nil {
			return err
		}
		if d == filepath.Clean(r.Path) || d == filepath.Dir(d) {
			return nil
		}
	}
}

func fill(ctx context.Context, dir, name string, f git.Format, ref string, targets []target.Target) error {
	_, err := git.Run(ctx, dir, "init", "--quiet", "--bare", "--template=", "--object-format="+f.String(),
		"--initial-branch=main")
	if err == nil {
		err = git.PointHead(ctx, dir, ref) // which git init does not take every name for
	}
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "hooks"), 0o700); err != nil {
		return err
	}
	// The server's receive-pack has a core.hooksPath of its own; this hook runs for a push that comes in by path.
	hook := filepath.Join(dir, "hooks", "pre-receive")
	if err := os.WriteFile(hook, fmt.Appendf(nil, refusingHook, name), 0o700); err != nil {
		return err
	}
	for _, t := range targets {
		if err := target.AddTarget(ctx, dir, t); err != nil {
			return err
		}
	}
	return nil
}

// refusingHook keeps refs from moving without a deploy. A script, and not a link to refship-hook, so that it refuses
// wherever the data directory or the program is moved to. The name has no character with a meaning in a shell.
const refusingHook = `#!/bin/sh
# Written by refship. A push over ssh runs the server's hooks instead of this one.
echo "refship: error: repository %[1]s belongs to a refship server, a push by path is refused" >&2
echo "refship: hint: push over ssh, as in: git push ssh://git@HOST:PORT/%[1]s" >&2
exit 1
`

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
