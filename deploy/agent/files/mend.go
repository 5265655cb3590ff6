package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// Mender makes a directory have what a list has.
type Mender struct {
	Root *os.Root
	// Content writes the content of a file, or the target of a link. to is an *os.File for a file, which is new and empty.
	Content func(ctx context.Context, e *Entry, to io.Writer) error
	// May says whether what is at a path may be replaced or removed; nil: all of it.
	May func(at string) bool
	// Begin is called before anything of what is there is replaced or removed; nil: nothing is.
	Begin func() error
	// Step is called when a file was replaced, and with other names at other moments.
	Step func(name string)

	begun bool
}

// The steps of Mend.
const (
	StepWritten  = "written"  // all new contents are on disk beside what they will replace
	StepReplaced = "replaced" // after each of them
	StepRemoving = "removing" // before the first removal
)

// Check refuses differences that cannot be mended without replacing or removing what Mender.May does not let it.
func (m *Mender) Check(differences []Difference) error {
	if m.May == nil {
		return nil
	}
	for i := range differences {
		d := &differences[i]
		switch {
		case d.Is == 0, d.What == OtherMode && d.Entry.IsDir():
			continue
		case !m.May(d.Path):
			return inTheWay(d.Path)
		case d.What != OtherKind || d.Is&unix.S_IFMT != unix.S_IFDIR:
			continue
		}
		if err := m.below(d.Path, m.checkName); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mender) checkName(at string) error {
	if !m.May(at) {
		return inTheWay(at)
	}
	return nil
}

// inTheWay refuses to replace what is not ours.
func inTheWay(at string) error {
	return fault.New(fault.Refused, text.Mention(at)+" is in the directory already, and no deploy has put it there",
		"see what it is, and move it away")
}

// below calls fn for what is below a directory.
func (m *Mender) below(at string, fn func(at string) error) error {
	dir, err := openParent(m.Root, at+"/x")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, name := range names {
		one := path.Join(at, name)
		if err := fn(one); err != nil {
			return err
		}
		if info, err := m.Root.Lstat(one); err == nil && info.IsDir() {
			if err := m.below(one, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// Mend puts differences right, and removes what of gone is there: each new content is on disk before the first file is
// replaced, each file is replaced at once, what has to go goes last. An error before Begin was called leaves all as it
// was. What is extra is removed with all that is in it.
func (m *Mender) Mend(ctx context.Context, differences []Difference, gone List) error {
	if err := m.Check(differences); err != nil {
		return err
	}
	written, err := m.write(ctx, differences)
	if err == nil {
		err = disk.SyncTree(m.Root)
	}
	if err == nil {
		m.Step(StepWritten)
		err = m.begin()
	}
	if err == nil {
		err = m.replace(written)
	}
	if err != nil {
		return errors.Join(err, m.drop(differences))
	}
	for i := range differences {
		if d := &differences[i]; d.What == OtherMode {
			if err := m.in(d.Path, func(dir int, name string) error { return chmodAt(dir, name, d.Entry.Mode) }); err != nil {
				return err
			}
		}
	}
	m.Step(StepRemoving)
	if err := m.remove(differences, gone); err != nil {
		return err
	}
	return disk.SyncTree(m.Root)
}

// begin calls Begin once.
func (m *Mender) begin() error {
	if m.Begin == nil || m.begun {
		return nil
	}
	m.begun = true
	return m.Begin()
}

// in calls fn with the directory that something is in, and its name there.
func (m *Mender) in(at string, fn func(dir int, name string) error) error {
	dir, err := openParent(m.Root, at)
	if err == nil {
		err = errors.Join(fn(int(dir.Fd()), path.Base(at)), dir.Close())
	}
	var said *fault.Error
	if err == nil || errors.As(err, &said) { // which names what it is about
		return err
	}
	return fmt.Errorf("%s: %w", text.Mention(at), err)
}

// write makes the directories that are missing, and writes new contents beside what they will replace.
func (m *Mender) write(ctx context.Context, differences []Difference) (written []*Difference, err error) {
	for i := range differences {
		d := &differences[i]
		if d.What == Extra || d.What == OtherMode {
			continue
		}
		if ctx.Err() != nil {
			return written, context.Cause(ctx)
		}
		err := m.in(d.Path, func(dir int, name string) error {
			if d.Entry.IsDir() {
				return m.makeDir(dir, name, d)
			}
			written = append(written, d)
			return m.writeOne(ctx, dir, temporaryOf(name), d.Entry)
		})
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// makeDir makes a directory, in place of what else is there.
func (m *Mender) makeDir(dir int, name string, d *Difference) error {
	if d.What == OtherKind {
		if err := m.begin(); err != nil {
			return err
		}
		if err := removeAll(dir, name); err != nil {
			return err
		}
	}
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return err
	}
	return chmodAt(dir, name, d.Entry.Mode)
}

// writeOne makes a file or a link under another name.
func (m *Mender) writeOne(ctx context.Context, dir int, name string, e *Entry) error {
	if err := removeAll(dir, name); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	switch e.kind() {
	case unix.S_IFLNK:
		var target strings.Builder
		if err := m.Content(ctx, e, &target); err != nil {
			return err
		}
		return unix.Symlinkat(target.String(), dir, name)
	case unix.S_IFREG:
	default:
		return fault.New(fault.Refused, text.Mention(e.Path)+" is no file, link or directory: it cannot be made anew", "")
	}
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	err = m.Content(ctx, e, f)
	if err == nil {
		err = unix.Fchmod(fd, e.Mode&permissions)
	}
	return errors.Join(err, f.Close())
}

// temporaryOf is the name of a file that will replace name, beside it. It is short, whatever name is, and always the
// same, so that it is found after the process was killed.
func temporaryOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "." + hex.EncodeToString(sum[:8]) + ".refship-tmp"
}

// replace gives what was written the names of what it replaces.
func (m *Mender) replace(written []*Difference) error {
	for _, d := range written {
		err := m.in(d.Path, func(dir int, name string) error {
			is, err := disk.StatAt(dir, name)
			switch {
			case err == nil && d.Is == 0 && m.May != nil: // it was not there a moment ago
				return inTheWay(d.Path)
			case err == nil && is.Mode&unix.S_IFMT == unix.S_IFDIR:
				if err := removeAll(dir, name); err != nil {
					return err
				}
			}
			return unix.Renameat(dir, temporaryOf(name), dir, name)
		})
		if err != nil {
			return err
		}
		m.Step(StepReplaced)
	}
	return nil
}

// drop removes what was written and has replaced nothing, and if nothing was replaced at all, the directories that were
// made.
func (m *Mender) drop(differences []Difference) error {
	var list List
	for i := range differences {
		if d := &differences[i]; d.What != Extra && (!d.Entry.IsDir() || d.What == Missing) {
			list = append(list, *d.Entry)
		}
	}
	return m.Clear(list, func(string) bool { return m.begun })
}

func (m *Mender) removeTemporary(at string) error {
	err := m.in(at, func(dir int, name string) error { return unix.Unlinkat(dir, temporaryOf(name), 0) })
	if isNoPlace(err) {
		return nil
	}
	return err
}

// isNoPlace tells that there is nothing at a path, or that it leads through what is no directory.
func isNoPlace(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// Clear removes what a Mend that was killed has written and not used, beside the entries of a list, and those of its
// directories that are empty and not kept.
func (m *Mender) Clear(list List, isKept func(at string) bool) error {
	for i := range slices.Backward(list) {
		e := &list[i]
		var err error
		switch {
		case e.hasContent():
			err = m.removeTemporary(e.Path)
		case e.IsDir() && !isKept(e.Path):
			err = m.removeEntry(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// remove removes what is extra, and what of gone is still of its kind. A directory stays while something is in it.
func (m *Mender) remove(differences []Difference, gone List) error {
	for i := range differences {
		if d := &differences[i]; d.What == Extra {
			if err := m.in(d.Path, removeAll); err != nil && !isNoPlace(err) {
				return err
			}
		}
	}
	for i := range slices.Backward(gone) {
		if err := m.removeEntry(&gone[i]); err != nil {
			return err
		}
	}
	return nil
}

// removeEntry removes a file or link, or a directory that is empty. What is of another kind stays.
func (m *Mender) removeEntry(e *Entry) error {
	err := m.in(e.Path, func(dir int, name string) error {
		if e.IsDir() {
			return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		}
		return unix.Unlinkat(dir, name, 0)
	})
	stays := e.IsDir() && (errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)) ||
		!e.IsDir() && (errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM)) && m.isDir(e.Path)
	if err == nil || stays || isNoPlace(err) {
		return nil
	}
	return err
}

func (m *Mender) isDir(at string) bool {
	info, err := m.Root.Lstat(at)
	return err == nil && info.IsDir()
}

// removeAll removes what has a name in a directory, and all that is in it; no link is followed.
func removeAll(dir int, name string) error {
	is, err := disk.StatAt(dir, name)
	if err != nil {
		return err
	}
	if is.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.Unlinkat(dir, name, 0)
	}
	if is.Mode&0o700 != 0o700 { // a command may have taken the rights away
		if err := chmodAt(dir, name, 0o700); err != nil {
			return err
		}
	}
	below, err := disk.OpenAt(dir, name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	names, err := below.Readdirnames(-1)
	for _, one := range names {
		if err == nil {
			err = removeAll(int(below.Fd()), one)
		}
	}
	if err = errors.Join(err, below.Close()); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// chmodAt gives what has a name other permissions; a link is refused.
func chmodAt(dir int, name string, mode uint32) error {
	f, err := disk.OpenAt(dir, name, 0)
	if err != nil { // it may not be read
		return unix.Fchmodat(dir, name, mode&permissions, unix.AT_SYMLINK_NOFOLLOW)
	}
	return errors.Join(unix.Fchmod(int(f.Fd()), mode&permissions), f.Close())
}
