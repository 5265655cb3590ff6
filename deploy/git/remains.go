package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Lock is a lock file of git. git makes FILE.lock before it changes FILE, and renames it over FILE or removes it
// afterwards (lockfile.h). One that a dead git left makes every later change of FILE fail.
type Lock struct {
	Path  string // relative to the repository's directory
	Since time.Time
}

// Loose is what the files of a repository's loose refs tell.
type Loose struct {
	Refs  int      // files that are refs
	Empty []string // of them, those without an oid: a machine that lost its power, or a full disk, left them
	Locks []Lock   // of refs, and of what lies beside them
}

// EmptyRefError is for a ref whose file is empty. git takes no push to a repository with one, and reads it as no ref.
// The remedy is the operator's, and names the file.
func EmptyRefError(gitDir, ref string) error {
	return fault.New(fault.Failed,
		ref+" is an empty file: a machine that lost its power, or a full disk, left it, and git takes no push meanwhile",
		"the server's operator removes that file (rm "+text.Quote(filepath.Join(gitDir, filepath.FromSlash(ref)))+
			"); then push again what it had")
}

// lockedFiles are what git and refship lock beside the refs. packed-refs.new is no lock, but git makes it only where it
// is not there.
var lockedFiles = []string{
	"HEAD.lock", "packed-refs.lock", "packed-refs.new", "shallow.lock", "config.lock",
	"objects/info/commit-graphs/commit-graph-chain.lock", "reftable/tables.list.lock",
}

// RefDir is where git writes when it changes one of the refs of the repository at gitDir, or any if it is "": the lowest
// directory that is there. No ref is read so: where they are files, a disk can still be full or read-only there.
func RefDir(gitDir, ref string) string {
	if hasReftable(gitDir) {
		return filepath.Join(gitDir, "reftable")
	}
	for dir := filepath.Dir(filepath.Join(gitDir, filepath.FromSlash(ref))); len(dir) > len(gitDir); dir = filepath.Dir(
		dir) {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	return filepath.Join(gitDir, "refs")
}

// hasReftable tells whether a repository has its refs in tables (git-init(1), --ref-format): refs/ has none then.
func hasReftable(gitDir string) bool {
	info, err := os.Stat(filepath.Join(gitDir, "reftable"))
	return err == nil && info.IsDir()
}

// RefsSize is about how large what git reads to know the refs of the repository at gitDir is, in bytes, without those
// that are files of their own.
func RefsSize(gitDir string) (size int64) {
	if info, err := os.Stat(filepath.Join(gitDir, "packed-refs")); err == nil {
		size = info.Size()
	}
	tables, _ := os.ReadDir(filepath.Join(gitDir, "reftable")) // most repositories have none
	for _, table := range tables {
		if info, err := table.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}

// ReadLoose looks at the loose refs and at the locks of the repository at gitDir: whether they are in order, and not what
// they say.
func ReadLoose(gitDir string) (*Loose, error) {
	found := &Loose{}
	for _, name := range lockedFiles {
		if info, err := os.Lstat(filepath.Join(gitDir, name)); err == nil {
			found.Locks = append(found.Locks, Lock{Path: name, Since: info.ModTime()})
		}
	}
	if hasReftable(gitDir) {
		return found, nil
	}
	err := filepath.WalkDir(filepath.Join(gitDir, "refs"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // removed since its directory was read
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") { // no ref's name begins so
			return nil
		}
		name, _ := filepath.Rel(gitDir, path) // it is below
		info, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case strings.HasSuffix(name, ".lock"): // no ref's name ends so
			found.Locks = append(found.Locks, Lock{Path: name, Since: info.ModTime()})
		default:
			found.Refs++
			if info.Mode().IsRegular() && info.Size() == 0 {
				found.Empty = append(found.Empty, filepath.ToSlash(name))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at refs: %w", err)
	}
	return found, nil
}
