package plan

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// ReasonPointers: files are Git LFS pointers, and nothing has their content.
const ReasonPointers fault.Reason = "lfs-pointers"

// A Git LFS pointer is a file of less than maxPointer bytes that begins with one of pointerPrefixes:
// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md. Git LFS takes those of the programs before it, too
// (lfs/pointer.go there).
const maxPointer = 1024

var pointerPrefixes = [][]byte{
	[]byte("version https://git-lfs.github.com/spec/"),
	[]byte("version https://hawser.github.com/spec/"),
	[]byte("version http://git-media.io/v/"),
}

func isPointer(content []byte) bool {
	return len(content) < maxPointer &&
		slices.ContainsFunc(pointerPrefixes, func(p []byte) bool { return bytes.HasPrefix(content, p) })
}

// refusePointers refuses files that are Git LFS pointers: nodes would run with a few lines of text. A file is one if it
// looks like one and the commit's .gitattributes say that LFS has it. Files that the head has at the same place are
// looked at only where the .gitattributes of their directory, or of one above, are not the head's; without
// .gitattributes nothing is. It comes after countFiles, by which the directories that differ are known.
func (p *Plan) refusePointers(ctx context.Context) error {
	if p.task.Repo == nil || p.task.AllowPointers {
		return nil
	}
	s := &suspects{Plan: p, pointers: map[tree.OID]bool{}}
	err := s.start()
	if err == nil {
		err = s.look(ctx, s.find)
	}
	if err == nil {
		err = s.read(ctx)
	}
	if err == nil && s.some {
		err = s.look(ctx, s.name)
	}
	if err != nil || len(s.paths) == 0 {
		return err
	}
	found, err := p.task.Repo.WithFilter(ctx, p.task.Top, "lfs", s.paths)
	if err != nil || len(found) == 0 {
		return err
	}
	return &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("%s, without the content that LFS keeps: %s",
			text.Plural(len(found), "file is a Git LFS pointer", "files are Git LFS pointers"),
			text.Printable(text.FirstFew(found))),
		Reason: ReasonPointers,
	}
}

// suspects are small files that the head's tree does not have at their place, or under other attributes.
type suspects struct {
	*Plan
	above    bool              // there are .gitattributes above the root
	old      *tree.Node        // the head's root; nil: every file is looked at
	unread   []tree.OID        // blobs that the head's tree has somewhere
	pointers map[tree.OID]bool // what those are; false until they are read
	some     bool              // any blob is a pointer
	paths    []string          // of pointers, in the commit's tree
}

// start finds what the root is compared with: nothing, unless the head's files were looked at under the same
// attributes.
func (s *suspects) start() error {
	above, err := s.task.Repo.AttributesAbove(s.task.Top, s.task.Path)
	if err != nil {
		return err
	}
	s.above = slices.ContainsFunc(above, func(oid tree.OID) bool { return !oid.IsZero() })
	head := s.task.Head
	if head == nil || s.fromNothing || s.task.Distrust || head.Hash.IsTree() || head.Path != s.task.Path {
		return nil
	}
	if s.above {
		commit, err := s.task.Repo.Commit(head.Hash.OID())
		if err != nil {
			return nil //nolint:nilerr // another repository's: its attributes are not known
		}
		was, err := s.task.Repo.AttributesAbove(commit.Tree, s.task.Path)
		if err != nil || !slices.Equal(was, above) {
			return err
		}
	}
	s.old = s.nodes.Node(head.Tree)
	return nil
}

// look calls fn for each suspect with the path of its directory.
func (s *suspects) look(ctx context.Context, fn func(ctx context.Context, dir string, e *tree.Entry) error) error {
	if s.old == nil {
		if err := s.nodes.LoadBelow(ctx, s.Root); err != nil {
			return err
		}
	}
	return s.lookInto(ctx, s.task.Path, s.Root, s.old, s.above, fn)
}

// lookInto is look for a directory: old is the head's at its place, above tells of .gitattributes above it.
func (s *suspects) lookInto(
	ctx context.Context, where string, dir tree.Entry, old *tree.Node, above bool,
	fn func(ctx context.Context, dir string, e *tree.Entry) error,
) error {
	was := map[string]*tree.Entry{}
	if old != nil {
		for i := range old.Entries {
			was[old.Entries[i].Name] = &old.Entries[i]
		}
	}
	node, err := s.nodes.Get(dir.OID)
	if err != nil {
		return err
	}
	entries := node.Entries
	attributes := slices.IndexFunc(entries, func(e tree.Entry) bool { return e.Name == git.AttributesFile })
	above = above || attributes >= 0
	if before := was[git.AttributesFile]; above && old != nil &&
		(attributes < 0 && before != nil || attributes >= 0 && !sameFile(before, &entries[attributes])) {
		if err := s.nodes.LoadBelow(ctx, dir); err != nil {
			return err
		}
		clear(was)
	}
	for i := range entries {
		e := &entries[i]
		switch before := was[e.Name]; {
		case sameFile(before, e):
		case e.Mode == filemode.Dir && before != nil && before.Mode == filemode.Dir:
			err = s.lookInto(ctx, path.Join(where, e.Name), *e, s.nodes.Node(before.OID), above, fn)
		case e.Mode == filemode.Dir:
			err = s.lookInto(ctx, path.Join(where, e.Name), *e, nil, above, fn)
		case above && e.Size < maxPointer && (e.Mode == filemode.Regular || e.Mode == filemode.Executable):
			err = fn(ctx, where, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sameFile tells whether the head has the same at a place, if anything.
func sameFile(before, e *tree.Entry) bool {
	return before != nil && before.OID == e.OID && before.Mode == e.Mode
}

// find takes a suspect in: what was planned was read already.
func (s *suspects) find(ctx context.Context, _ string, e *tree.Entry) error {
	if c := s.contents[e.OID]; c != nil {
		s.some = s.some || c.pointer
		return nil
	}
	if _, found := s.pointers[e.OID]; found {
		return nil
	}
	s.pointers[e.OID] = false
	s.unread = append(s.unread, e.OID)
	return s.share.take(ctx, fileMemory)
}

// read finds out which of the unread blobs are pointers.
func (s *suspects) read(ctx context.Context) error {
	return s.task.Repo.Blobs(ctx, s.unread, func(i int, size int64, r io.Reader) error {
		content, err := io.ReadAll(io.LimitReader(r, maxPointer))
		if err == nil && size < maxPointer && isPointer(content) {
			s.pointers[s.unread[i]], s.some = true, true
		}
		return err
	})
}

// name notes the path of a suspect that is a pointer.
func (s *suspects) name(_ context.Context, dir string, e *tree.Entry) error {
	if c := s.contents[e.OID]; c != nil && c.pointer || s.pointers[e.OID] {
		s.paths = append(s.paths, path.Join(dir, e.Name))
	}
	return nil
}
