package agent

import (
	"context"
	"fmt"
	"path"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sys/unix"

	"refship/deploy/agent/files"
	"refship/deploy/agent/secret"
	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// lister takes in what a deploy has while it is checked out.
type lister struct {
	dir    string            // of the path that was taken in last
	folded map[string]string // the paths in it, by what a file system has of them that takes A for a
	wanted bool              // the list is
	list   files.List
}

// each takes in one path. Two that differ in nothing but case are a fault.Refused: on some file systems one of them
// would be the other.
func (l *lister) each(at string, e *tree.Entry) error {
	if dir := path.Dir(at); dir != l.dir || l.folded == nil { // all of a directory comes in a row
		l.dir, l.folded = dir, map[string]string{}
	}
	folded := tree.Folded(at)
	if other, found := l.folded[folded]; found {
		return fault.New(fault.Refused, fmt.Sprintf("%s and %s are one on some file systems",
			text.Mention(other), text.Mention(at)), "rename one of them")
	}
	l.folded[folded] = at
	if !l.wanted {
		return nil
	}
	entry := files.Entry{Path: at, Mode: unix.S_IFREG, Size: e.Size, SHA256: e.SHA256, OID: e.OID}
	switch e.Mode {
	case filemode.Symlink:
		entry.Mode = unix.S_IFLNK
	case filemode.Dir, filemode.Submodule:
		entry = files.Entry{Path: at, Mode: unix.S_IFDIR}
	}
	l.list = append(l.list, entry)
	return nil
}

// entryOf is a file or link of a list as the deploy has it.
func entryOf(e *files.Entry) tree.Entry {
	mode := filemode.Regular
	if e.Mode&unix.S_IFMT == unix.S_IFLNK {
		mode = filemode.Symlink
	}
	return tree.Entry{Mode: mode, OID: e.OID, Size: e.Size, SHA256: e.SHA256}
}

// describe adds what was decrypted, and what all of it looks like before the operator's command changes it.
func (a *Agent) describe(ctx context.Context, r *site.Release, l *lister, made []secret.Made) error {
	if !l.wanted {
		return nil
	}
	if l.list == nil {
		l.list = files.List{} // an empty tree
	}
	for _, m := range made {
		sum, err := tree.ParseSHA256(m.SHA256)
		if err != nil {
			return err
		}
		l.list = append(l.list, files.Entry{Path: m.Path, Mode: unix.S_IFREG, Size: m.Size, SHA256: sum})
	}
	dir, err := a.site.Open(r)
	if err != nil {
		return err
	}
	defer dir.Close()
	return files.Describe(ctx, dir, l.list)
}

// takePrepared takes in what the operator's command has made and changed.
func (a *Agent) takePrepared(ctx context.Context, r *site.Release, l *lister) error {
	if !l.wanted {
		return nil
	}
	dir, err := a.site.Open(r)
	if err != nil {
		return err
	}
	defer dir.Close()
	looked, err := files.Compare(ctx, dir, l.list, true)
	if err == nil {
		l.list, err = files.Take(ctx, dir, l.list, looked.Differences)
	}
	return err
}
