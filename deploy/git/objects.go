package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/tree"
)

// maxObjectSize is the greatest size in bytes of an object that is read whole (a commit, a tree, anything through
// Raw): a few kilobytes of pack can inflate to gigabytes of commit message. It is asked for first, so that git does not
// inflate a larger one either. Blobs has no such limit.
const maxObjectSize = tree.MaxTree

// read reads one object whole and checks that its bytes hash to oid. want is its type, or "" for any.
func (r *Repository) read(ctx context.Context, want string, oid OID) (typ string, data []byte, err error) {
	if o, is := r.pushed[oid]; is {
		return o.typ, o.data, r.fits(ctx, want, oid, header{typ: o.typ, size: int64(len(o.data))}, true)
	}
	err = r.use(ctx, func(p *catFile) error {
		infos, err := p.info([]OID{oid})
		if err != nil {
			return err
		}
		if err := r.fits(ctx, want, oid, infos[0], true); err != nil {
			return err
		}
		typ = infos[0].typ
		p.ask(askContents, []OID{oid})
		return p.lend(oid, infos[0], func(c *content) (err error) {
			data, err = c.all(typ, oid)
			return err
		})
	})
	if err != nil {
		return "", nil, err
	}
	return typ, data, nil
}

// fits refuses what is not of the wanted type ("": any), or too large to be read whole.
func (r *Repository) fits(ctx context.Context, want string, oid OID, info header, whole bool) error {
	switch {
	case info.missing:
		return r.missing(ctx, want, oid)
	case want != "" && want != info.typ:
		return notFound(want, oid, info.typ)
	case whole && info.size > maxObjectSize:
		return tooLarge(info.typ, oid, info.size)
	}
	return nil
}

// all reads all of an object, and checks that its bytes hash to oid.
func (c *content) all(typ string, oid OID) ([]byte, error) {
	data := make([]byte, c.left)
	if _, err := io.ReadFull(c, data); err != nil {
		return nil, err
	}
	if got := tree.HashObject(oid.Format(), typ, data); got != oid {
		return nil, fmt.Errorf("read %s %s: its bytes hash to %s: %w", typ, oid, got, ErrCorrupt)
	}
	return data, nil
}

// missing tells an object that is not there from one that cat-file calls missing, too, since it cannot read it:
// `cat-file -e` only looks whether there is one.
func (r *Repository) missing(ctx context.Context, want string, oid OID) error {
	if oid.Format() != r.format {
		return notFound(want, oid, "")
	}
	_, err := r.run(ctx, "cat-file", "-e", "--end-of-options", oid.String())
	var failed *Error
	switch {
	case errors.As(err, &failed) && failed.exitCode() == 1:
		return notFound(want, oid, "")
	case err != nil:
		return err
	}
	if _, err = r.run(ctx, "cat-file", "-t", "--end-of-options", oid.String()); err == nil {
		return notFound(want, oid, "") // it came in the meantime
	}
	return fmt.Errorf("read object %s: %w: %w", oid, ErrCorrupt, err)
}

// notFound wraps ErrNotFound; want is a type or "", and is that of the object that has the oid, or "".
func notFound(want string, oid OID, is string) error {
	what := cmp.Or(want, "object")
	if is != "" {
		return fmt.Errorf("read %s %s: it is a %s: %w", what, oid, is, ErrNotFound)
	}
	return fmt.Errorf("read %s %s: %w", what, oid, ErrNotFound)
}

// Tree reads a tree's entries, in git's order, without sizes and sha256s. What git itself would not have written is
// refused (fault.Refused): a zero-padded or old mode, a name twice, a bad name, a wrong order. The error wraps
// ErrNotFound if nothing or no tree has this oid.
func (r *Repository) Tree(oid OID) ([]tree.Entry, error) {
	_, data, err := r.read(r.ctx, "tree", oid)
	if err != nil {
		return nil, err
	}
	return parseTree(oid, data)
}

func parseTree(oid OID, data []byte) ([]tree.Entry, error) {
	entries, err := tree.ParseTree(data, oid.Format())
	if err != nil {
		return nil, badTree(oid, err)
	}
	return entries, nil
}

// Raw reads an object of any type with its header ("commit 123\x00…"), so that its hash is the oid.
func (r *Repository) Raw(oid OID) ([]byte, error) {
	typ, data, err := r.read(r.ctx, "", oid)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "%s %d\x00", typ, len(data)), data...), nil
}

// TreeAt finds the directory at path in a commit's tree; "" is the root, else elements are joined with "/". above are
// the trees from the root down to at, without at, which is not read. The error is a *NoPathError if there is no
// directory.
func (r *Repository) TreeAt(commit *Commit, path string) (at OID, above []OID, err error) {
	at = commit.Tree
	if path == "" {
		return at, nil, nil
	}
	elements := strings.Split(path, "/")
	for i, name := range elements {
		here := strings.Join(elements[:i+1], "/")
		no := func(found string) error {
			return &NoPathError{Commit: commit.OID, Path: path, Found: fmt.Sprintf("%q %s", here, found)}
		}
		if err := tree.CheckName(name); err != nil {
			return OID{}, nil, no("is not a path: " + err.Error())
		}
		entries, err := r.Tree(at)
		if err != nil {
			return OID{}, nil, err
		}
		above = append(above, at)
		e := find(entries, name)
		if e == nil {
			return OID{}, nil, no("does not exist")
		}
		if e.Mode != filemode.Dir {
			return OID{}, nil, no("is " + kindOf(e.Mode))
		}
		at = e.OID
	}
	return at, above, nil
}

func find(entries []tree.Entry, name string) *tree.Entry {
	for i := range entries {
		if entries[i].Name == name {
			return &entries[i]
		}
	}
	return nil
}

func kindOf(m filemode.FileMode) string {
	switch m {
	case filemode.Symlink:
		return "a symbolic link"
	case filemode.Submodule:
		return "a submodule"
	}
	return "a file"
}
