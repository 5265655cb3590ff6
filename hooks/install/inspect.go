package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/diff"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// kind says whose a file is.
type kind int

const (
	absent  kind = iota
	ours         // as we wrote it
	edited       // ours, changed by somebody
	foreign      // somebody else's hook
)

// place is a name in a directory of hooks, and what is there.
type place struct {
	file string // relative to the directory
	path string
	kind kind
	text []byte // empty if it cannot be read as a file
	info fs.FileInfo
}

// hookState is one hook of a directory as it stands.
type hookState struct {
	name   string
	dir    string
	record *manifestHook // what the manifest says; nil
	at     place         // where ours is, or would be: the hook itself, or in a dispatcher's directory
	aside  place         // the earlier hook's new name
	stray  place         // ours in a dispatcher's directory, where it also is the hook itself
	deaf   bool          // ours is in a dispatcher's directory, and the hook is no dispatcher any more
}

// maxHook is how much of a hook is read.
const maxHook = 1 << 20

// lookAt says whose the file is.
func lookAt(dir, file, name string, record *manifestHook) (place, error) {
	p := place{file: file, path: filepath.Join(dir, file)}
	info, err := os.Lstat(p.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.info, p.kind = info, foreign
	if to, err := os.Stat(p.path); err != nil || !to.Mode().IsRegular() || to.Size() > maxHook {
		return p, nil
	}
	if p.text, err = os.ReadFile(p.path); err != nil {
		return p, err
	}
	content := string(p.text)
	mentions := strings.Contains(content, scriptMark) || strings.Contains(content, "hook run --hook "+name)
	switch {
	case !info.Mode().IsRegular():
	case record != nil && slices.Contains(record.SHA256, sumOf(p.text)):
		p.kind = ours
	case record == nil && isScript(content, name):
		p.kind = ours
	case mentions:
		p.kind = edited
	}
	return p, nil
}

// look says how a hook stands.
func look(dir, name string, m *manifest) (*hookState, error) {
	s := &hookState{name: name, dir: dir, record: m.hook(name)}
	plain, err := lookAt(dir, name, name, s.record)
	if err != nil {
		return nil, err
	}
	inside, err := lookAt(dir, filepath.Join(name+dispatchSuffix, dispatched), name, s.record)
	if err != nil {
		return nil, err
	}
	if s.aside, err = lookAt(dir, name+earlierSuffix, name, s.record); err != nil {
		return nil, err
	}
	isOne := isDispatcher(dir, name, plain)
	switch {
	case plain.kind == ours || plain.kind == edited:
		s.at, s.stray = plain, inside
	case inside.kind == ours || inside.kind == edited:
		s.at, s.deaf = inside, !isOne
	case isOne:
		s.at = inside
	default:
		s.at = plain
	}
	return s, nil
}

// isDispatcher tells a hook that runs those in a directory: that is there, and the hook speaks of it.
func isDispatcher(dir, name string, hook place) bool {
	info, err := os.Stat(filepath.Join(dir, name+dispatchSuffix))
	return err == nil && info.IsDir() && hook.kind == foreign && runsDirectory(string(hook.text), name)
}

// runsDirectory tells whether a hook's text speaks of the directory NAME.d: by name, or by a variable or command that gives
// the name ("${hookname}.d", "$0.d", "${0##*/}.d", "$(basename "$0").d").
func runsDirectory(content, name string) bool {
	for line := range strings.Lines(content) {
		code := comment.ReplaceAllString(line, "")
		if dispatches.MatchString(code) || strings.Contains(code, name+dispatchSuffix) {
			return true
		}
	}
	return false
}

var (
	comment    = regexp.MustCompile(`(^|\s)#.*`)
	dispatches = regexp.MustCompile(`(\$\w+"?|\$\{[^}]*\}"?|\)"?|` + "`" + `)\.d\b`)
)

// mayDispatch: the hook may run what is beside it in NAME.d, and it cannot be told.
func (s *hookState) mayDispatch() bool {
	if s.inDispatcher() || s.at.kind != foreign || !strings.Contains(string(s.at.text), dispatchSuffix) {
		return false
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, s.name+dispatchSuffix))
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		info, err := os.Stat(filepath.Join(s.dir, s.name+dispatchSuffix, e.Name()))
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	})
}

func (s *hookState) inDispatcher() bool { return s.at.file != s.name }

// linked: the earlier hook has both names, since an install died.
func (s *hookState) linked() bool {
	return s.aside.info != nil && s.at.info != nil && os.SameFile(s.aside.info, s.at.info)
}

// relinked: the earlier hook was put back over ours, as it was: "gitolite setup" links its own hooks again. It is at both
// names then, as when linked.
func (s *hookState) relinked() bool {
	if s.at.kind != foreign || s.aside.kind != foreign || s.inDispatcher() {
		return false
	}
	at, err := s.at.describe()
	if err != nil {
		return false
	}
	aside, err := s.aside.describe()
	return err == nil && *at == *aside
}

// hasEarlier: the earlier hook is set aside, and ours, if it is there, runs it.
func (s *hookState) hasEarlier() bool {
	if s.inDispatcher() || s.aside.kind == absent || s.aside.kind == ours {
		return false
	}
	return s.at.kind == absent || s.at.kind == ours && wantsEarlier(string(s.at.text))
}

// lostEarlier: ours is to run a hook that is gone.
func (s *hookState) lostEarlier() bool {
	return !s.inDispatcher() && s.at.kind == ours && wantsEarlier(string(s.at.text)) && s.aside.kind == absent
}

// EditedError says that a hook is not as refship wrote it.
type EditedError struct {
	Path   string
	Diff   string // from what refship wrote to what is there, or, if that is not known, what is there
	remedy string
}

func (e *EditedError) Error() string { return e.Path + " was edited after refship wrote it" }

// Hint is the remedy.
func (e *EditedError) Hint() string { return e.remedy }

// Unwrap makes it a refusal.
func (e *EditedError) Unwrap() error {
	return &fault.Error{Kind: fault.Refused, What: e.Error(), Remedy: e.remedy}
}

// editedError says what somebody changed.
func (s *hookState) editedError(p place, program string) *EditedError {
	e := &EditedError{Path: p.path, Diff: string(p.text)}
	original := ""
	for _, earlier := range []bool{wantsEarlier(string(p.text)), !wantsEarlier(string(p.text))} {
		if content := script(program, s.name, earlier); s.record != nil && slices.Contains(s.record.SHA256, sumOf([]byte(content))) {
			original = content
		}
	}
	if original != "" {
		e.Diff = string(diff.Diff("as refship wrote it", []byte(original), p.path, p.text))
	}
	e.remedy = fmt.Sprintf("keep what was added in a hook of its own, and take this away: mv %s %s; then try again",
		text.Quote(p.path), text.Quote(filepath.Join(filepath.Dir(p.path), "edited-"+filepath.Base(p.path))))
	return e
}

// conflict says why nothing of ours can be changed here; nil: it can.
func (s *hookState) conflict(m *manifest) error {
	program := ""
	if m != nil {
		program = m.Program
	}
	switch {
	case s.at.kind == edited:
		return s.editedError(s.at, program)
	case s.stray.kind == edited:
		return s.editedError(s.stray, program)
	case s.at.kind == foreign && s.inDispatcher():
		return &fault.Error{Kind: fault.Refused, What: s.at.path + " is not refship's", Remedy: "give it another name"}
	case s.at.kind == foreign && s.aside.kind != absent && s.aside.kind != ours && !s.linked() && !s.relinked():
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("somebody put another hook at %s, while %s still holds the one that refship set aside", s.at.path, s.aside.path),
			Remedy: fmt.Sprintf("decide which is to stay: mv %s %s gives back the old one; rm %s keeps the new one; then try again",
				text.Quote(s.aside.path), text.Quote(s.at.path), text.Quote(s.aside.path)),
		}
	}
	return nil
}

// describe says what an earlier hook is like.
func (p place) describe() (*earlierHook, error) {
	e := &earlierHook{Mode: fmt.Sprintf("%04o", p.info.Mode().Perm()), Link: p.info.Mode()&fs.ModeSymlink != 0}
	content := p.text
	if e.Link {
		to, err := os.Readlink(p.path)
		if err != nil {
			return nil, err
		}
		content = []byte(to)
	} else if p.info.Mode().IsRegular() && len(content) == 0 && p.info.Size() > 0 {
		var err error
		if content, err = os.ReadFile(p.path); err != nil {
			return nil, err
		}
	}
	e.SHA256 = sumOf(content)
	return e, nil
}
