package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/diff"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

// maxHook bounds a hook that is read, in bytes: it may be a program of any language.
const maxHook = 256 << 20

// state is what a repository and its directory of hooks have of refship.
type state struct {
	repo      *Repository
	installed *installation // nil: there is no installed.json
	dir       string        // of the hooks
	dirMode   fs.FileMode   // 0: it does not exist
	manifest  *manifest     // nil: there is none
	post, pre *hook
}

// inspect reads what is there, with the hooks in dir.
func inspect(repo *Repository, dir string) (*state, error) {
	s := &state{repo: repo, dir: dir}
	info, err := os.Stat(dir)
	if err == nil {
		s.dirMode = info.Mode().Perm()
	}
	if s.installed, err = readInstallation(repo.GitDir); err != nil {
		return nil, err
	}
	if s.manifest, err = readManifest(dir); err != nil {
		return nil, err
	}
	if s.post, err = inspectHook(dir, git.PostReceive, s.manifest); err != nil {
		return nil, err
	}
	s.pre, err = inspectHook(dir, git.PreReceive, s.manifest)
	return s, err
}

// installedDir is where the hooks of a repository are installed, or would be.
func installedDir(repo *Repository) (string, error) {
	i, err := readInstallation(repo.GitDir)
	if err != nil || i == nil {
		return repo.HooksDir, err
	}
	return resolve(repo.GitDir, i.Hooks), nil
}

// hooks are both, in the order in which they are installed. They are taken out in the other order.
func (s *state) hooks() []*hook { return []*hook{s.post, s.pre} }

// isKnown tells whether hooks are installed for this repository, also if there is no installed.json.
func (s *state) isKnown() bool {
	if s.installed != nil {
		return true
	}
	if s.manifest != nil {
		return slices.ContainsFunc(s.manifest.Repositories, s.isThis)
	}
	return s.pre.at.kind == ours || s.post.at.kind == ours
}

// isThis tells whether the manifest's name for a repository is this one's.
func (s *state) isThis(name string) bool { return resolve(s.dir, name) == s.repo.GitDir }

// kind says whose a file is.
type kind int

const (
	absent  kind = iota
	ours         // as refship wrote it
	edited       // refship's, changed since
	foreign      // another hook
)

// file is a name in a directory of hooks, and what is there.
type file struct {
	name string // relative to the directory
	path string
	kind kind
	text string // "" if it leads to no regular file
	mode fs.FileMode
	is   earlierHook
}

// hook is one hook of a directory as it is.
type hook struct {
	name   string
	record *manifestHook // what the manifest says; nil
	at     file          // refship's script, or where it would be: the hook itself, or in a dispatcher's directory
	aside  file          // the earlier hook's second name
	notRun bool          // at is in a dispatcher's directory, and no dispatcher runs it
	unsure bool          // at is the hook itself, and may run the programs in NAME.d
}

// inspectFile says whose a file is.
func inspectFile(dir, name, hook string, record *manifestHook) (file, error) {
	f := file{name: name, path: filepath.Join(dir, name)}
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.mode = info.Mode()
	if to, err := os.Stat(f.path); err == nil && to.Mode().IsRegular() {
		text, err := disk.ReadFile(f.path, maxHook)
		if err != nil {
			return f, err
		}
		f.text = string(text)
	}
	f.is = earlierHook{Mode: fmt.Sprintf("%04o", f.mode.Perm()), Link: f.mode&fs.ModeSymlink != 0}
	content := f.text
	if f.is.Link {
		if content, err = os.Readlink(f.path); err != nil {
			return f, err
		}
	}
	f.is.SHA256 = sumOf(content)
	switch {
	case !f.mode.IsRegular():
		f.kind = foreign
	case record != nil && slices.Contains(record.SHA256, f.is.SHA256), record == nil && isScript(f.text, hook):
		f.kind = ours
	case strings.Contains(f.text, scriptMark), strings.Contains(f.text, "hook run --hook "+hook):
		f.kind = edited
	default:
		f.kind = foreign
	}
	return f, nil
}

// inspectHook reads the state of one hook.
func inspectHook(dir, name string, m *manifest) (*hook, error) {
	h := &hook{name: name, record: m.hook(name)}
	plain, err := inspectFile(dir, name, name, h.record)
	if err != nil {
		return nil, err
	}
	inside, err := inspectFile(dir, filepath.Join(name+dispatchSuffix, dispatched), name, h.record)
	if err != nil {
		return nil, err
	}
	if h.aside, err = inspectFile(dir, name+earlierSuffix, name, h.record); err != nil {
		return nil, err
	}
	if h.aside.kind == edited {
		h.aside.kind = foreign // whatever it says, it is the earlier hook
	}
	isThere, holds := programsIn(plain.path + dispatchSuffix)
	dispatcher := isThere && plain.kind == foreign && runsDirectory(plain.text, name)
	switch {
	case plain.kind == ours || plain.kind == edited:
		h.at = plain
	case inside.kind == ours || inside.kind == edited:
		h.at, h.notRun = inside, !dispatcher
	case dispatcher:
		h.at = inside
	default:
		h.at, h.unsure = plain, holds && strings.Contains(plain.text, dispatchSuffix)
	}
	return h, nil
}

// programsIn tells whether a directory is there, and whether it holds a file that can be run.
func programsIn(dir string) (isThere, holds bool) {
	entries, err := os.ReadDir(dir)
	return err == nil, slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	})
}

func (h *hook) inDispatcher() bool { return h.at.name != h.name }

// earlier is the hook that refship's is to run first, set aside or still under its own name; nil if there is none.
func (h *hook) earlier() *file {
	switch {
	case h.inDispatcher():
		return nil
	case h.at.kind == foreign:
		return &h.at
	case h.isSetAside():
		return &h.aside
	}
	return nil
}

// isSetAside: the earlier hook has its second name, and refship's, if it exists, runs it.
func (h *hook) isSetAside() bool {
	return !h.inDispatcher() && h.aside.kind == foreign &&
		(h.at.kind == absent || h.at.kind == ours && wantsEarlier(h.at.text))
}

// hasBothNames: the earlier hook has both names. An install died between the two, or "gitolite setup", which links its
// hooks again, has put it over refship's.
func (h *hook) hasBothNames() bool {
	return !h.inDispatcher() && h.at.kind == foreign && h.aside.kind == foreign && h.at.is == h.aside.is
}

// lostEarlier: refship's is to run a hook that is gone.
func (h *hook) lostEarlier() bool {
	return !h.inDispatcher() && h.at.kind == ours && wantsEarlier(h.at.text) && h.aside.kind != foreign
}

// conflict says why nothing of refship's can be changed here; nil: it can.
func (h *hook) conflict(m *manifest) error {
	switch {
	case h.at.kind == edited:
		return h.editedError(m)
	case h.inDispatcher() && h.at.kind == foreign:
		return fault.Refuse("give it another name", "%s is not refship's", h.at.path)
	case h.at.kind == foreign && h.aside.kind == foreign && !h.hasBothNames():
		aside := text.Quote(h.aside.path)
		return fault.Refuse("decide which is to stay: mv "+aside+" "+text.Quote(h.at.path)+" gives back the old one; "+
			"rm "+aside+" keeps the new one; then try again",
			"there is another hook at %s, while %s still is the one that refship set aside", h.at.path, h.aside.path)
	}
	return nil
}

// EditedError says that a hook is not as refship wrote it.
type EditedError struct {
	Path string
	Diff string // from what refship wrote to what is there, or, if that is not known, what is there
}

func (e *EditedError) Error() string { return e.Path + " was edited after refship wrote it" }

// Unwrap makes it a refusal.
func (e *EditedError) Unwrap() error {
	aside := filepath.Join(filepath.Dir(e.Path), "edited-"+filepath.Base(e.Path))
	return fault.Refuse("keep what was added in a hook of its own, and take this away: mv "+text.Quote(e.Path)+" "+
		text.Quote(aside)+"; then try again", "%v", e)
}

// editedError says what was changed.
func (h *hook) editedError(m *manifest) *EditedError {
	e := &EditedError{Path: h.at.path, Diff: h.at.text}
	if m == nil || h.record == nil {
		return e
	}
	for _, earlier := range []bool{false, true} {
		original := script(m.Program, h.name, earlier)
		if slices.Contains(h.record.SHA256, sumOf(original)) {
			e.Diff = string(diff.Diff("as refship wrote it", []byte(original), h.at.path, []byte(h.at.text)))
		}
	}
	return e
}
