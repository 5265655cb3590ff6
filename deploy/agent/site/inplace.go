package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"refship/deploy/agent/files"
	"refship/deploy/disk"
	"refship/deploy/fault"
)

// The files about a directory that is filled.
const (
	filledName     = "filled"
	filledListName = "filled-list" // what the release has
	fillingName    = "filling"     // the list of what deploys have brought, and one more brings
)

// filled is what is said of such a directory.
type filled struct {
	Release
	Whole bool `json:"whole"` // it has all of the release, and nothing else that a deploy has brought
}

// openInPlace opens the directory at the link's place.
func (s *Site) openInPlace() error {
	if strings.HasPrefix(s.root+"/", s.linkPath+"/") {
		return fault.Newf(fault.Usage, "directory %q has the root in it", s.linkPath)
	}
	if err := s.reopen(); err != nil {
		return err
	}
	return s.clearFilling()
}

// reopen opens the directory that is at the link's place now, which is made where it is missing.
func (s *Site) reopen() error {
	err := s.linkDir.Mkdir(s.linkName, 0o777)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the directory: %w", err)
	}
	is, err := s.linkDir.Lstat(s.linkName)
	if err != nil {
		return err
	}
	if !is.IsDir() {
		return fault.New(fault.Failed, fmt.Sprintf("%q is no directory: something else has put it there", s.linkPath),
			"see what it is, and move it away")
	}
	if s.inPlace != nil {
		if opened, err := s.inPlace.Stat("."); err == nil && os.SameFile(is, opened) {
			return nil
		}
		_ = s.inPlace.Close() // it was removed, or is another one now
	}
	if s.inPlace, err = s.linkDir.OpenRoot(s.linkName); err != nil {
		return err
	}
	if opened, err := s.inPlace.Stat("."); err != nil || !os.SameFile(is, opened) {
		return errors.Join(fmt.Errorf("%q was replaced", s.linkPath), err)
	}
	return nil
}

// filled gives the release that the directory has; nil: none, or not yet all of it. A directory that has nothing of it
// is another one than the one that was filled, such as a new one in a memory that was lost.
func (s *Site) filled() (*Release, error) {
	if err := s.reopen(); err != nil {
		return nil, err
	}
	is := new(filled)
	found, err := readJSON(s.state, filledName, is)
	if err != nil || !found || !is.Whole {
		return nil, err
	}
	if has, err := s.hasAny(); err != nil || !has {
		return nil, errors.Join(err, writeJSON(s.state, filledName, filled{Release: is.Release}, 0o600))
	}
	info, err := s.state.Lstat(filledName)
	if err != nil {
		return nil, err
	}
	is.Since = info.ModTime()
	return &is.Release, nil
}

// hasAny tells whether the directory has anything of the release that it was filled with.
func (s *Site) hasAny() (bool, error) {
	list, err := s.readList(filledListName)
	for i := range list {
		if _, err := s.inPlace.Lstat(list[i].Path); err == nil {
			return true, nil
		}
	}
	return len(list) == 0, err
}

// Fill makes the directory have what a release has that is ready, and removes what an earlier deploy has brought. What
// no deploy has brought stays; if it is in the way, that is a fault.Refused, and nothing has changed. step is called
// at several moments.
func (s *Site) Fill(ctx context.Context, r *Release, step func(string)) error {
	if err := s.reopen(); err != nil {
		return err
	}
	from, err := s.Open(r)
	if err != nil {
		return err
	}
	defer from.Close()
	want, err := s.readList(listOf(r.Name))
	if err == nil && want == nil {
		err = fmt.Errorf("release %s has no list", r.Name)
	}
	if err != nil {
		return err
	}
	had, err := s.brought()
	if err != nil {
		return err
	}
	for i := range want {
		want[i].Seen = files.Seen{} // that was of the release's own directory
	}
	gone := want.After(had)
	m := &files.Mender{
		Root: s.inPlace, Step: step, May: had.Has(),
		Content: func(_ context.Context, e *files.Entry, to io.Writer) error { return copyFrom(from, e, to) },
		Begin:   func() error { return writeJSON(s.state, filledName, filled{Release: *r}, 0o600) },
	}
	looked, err := files.Compare(ctx, s.inPlace, want, false)
	if err == nil {
		err = m.Check(looked.Differences)
	}
	if err == nil {
		err = s.writeList(fillingName, want.And(gone))
	}
	if err != nil {
		return err
	}
	step("filling")
	if err := m.Mend(ctx, looked.Differences, gone); err != nil {
		return errors.Join(err, s.clearFilling())
	}
	return s.filledWith(ctx, r, want, step)
}

// brought is what deploys have brought: all of it that can be there.
func (s *Site) brought() (files.List, error) {
	had, err := s.readList(filledListName)
	if err != nil {
		return nil, err
	}
	filling, err := s.readList(fillingName) // of a Fill that was broken off
	return had.And(filling), err
}

// filledWith says that the directory has a release, after a look at all that was written.
func (s *Site) filledWith(ctx context.Context, r *Release, list files.List, step func(string)) error {
	looked, err := files.Compare(ctx, s.inPlace, list, false)
	if err != nil {
		return err
	}
	if len(looked.Differences) > 0 {
		return fmt.Errorf("something else writes into %s: %s", s.linkPath, &looked.Differences[0])
	}
	// Until it is whole nobody reads the list but the next Fill, which reads what was being filled, too.
	if err := writeJSON(s.state, filledName, filled{Release: *r}, 0o600); err != nil {
		return err
	}
	if err := s.writeList(filledListName, list); err != nil {
		return err
	}
	if err := remove(s.state, fillingName); err != nil {
		return err
	}
	step("listed")
	return writeJSON(s.state, filledName, filled{*r, true}, 0o600)
}

// clearFilling removes what a Fill that was killed or has failed wrote and did not use. If it has replaced nothing,
// nothing else remains of it: what it would have brought is not a deploy's.
func (s *Site) clearFilling() error {
	filling, err := s.readList(fillingName)
	if err != nil || filling == nil {
		return err
	}
	had, err := s.readList(filledListName)
	if err != nil {
		return err
	}
	is := new(filled)
	found, err := readJSON(s.state, filledName, is)
	if err != nil {
		return err
	}
	begun := found && !is.Whole
	isOld := had.Has()
	err = (&files.Mender{Root: s.inPlace}).Clear(filling, func(at string) bool { return begun || isOld(at) })
	if err != nil || begun {
		return err
	}
	return remove(s.state, fillingName)
}

// copyFrom writes what a file of a release has, or where a link of it leads to.
func copyFrom(from *os.Root, e *files.Entry, to io.Writer) error {
	out, isFile := to.(*os.File)
	if !isFile {
		target, err := from.Readlink(e.Path)
		if err == nil {
			_, err = io.WriteString(to, target)
		}
		return err
	}
	in, err := from.Open(e.Path)
	if err != nil {
		return err
	}
	if disk.Clone(out, in) != nil {
		_, err = io.Copy(out, in)
	}
	return errors.Join(err, in.Close())
}
