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

// MaxObjectSize is the greatest size in bytes of an object that is read whole (a commit, a tree, anything through
// Raw): a few kilobytes of pack can inflate to gigabytes of commit message. Blobs has no such limit.
const MaxObjectSize = 64 << 20

// read reads one object whole and checks that its bytes hash to oid. want is its type, or "" for any.
func (r *Repository) read(ctx context.Context, want string, oid OID) (typ string, data []byte, err error) {
	var h header
	err = r.use(ctx, func(p *catFile) (err error) {
		p.pending = 1
		p.ask([]OID{oid})
		if h, err = p.readHeader(oid); err != nil {
			return err
		}
		if h.missing {
			return r.missing(ctx, want, oid)
		}
		if h.size > MaxObjectSize {
			return tooLarge(h.typ, oid, h.size) // still pending: git is ended, not read dry
		}
		c := &content{p: p, left: h.size}
		data = make([]byte, h.size)
		if _, err := io.ReadFull(c, data); err != nil {
			return err
		}
		return c.finish()
	})
	if err != nil {
		return "", nil, err
	}
	if want != "" && want != h.typ {
		return "", nil, notFound(want, oid, h.typ)
	}
	if got := tree.HashObject(h.typ, data); got != oid {
		return "", nil, fmt.Errorf("read %s %s: its bytes hash to %s: %w", h.typ, oid, got, ErrCorrupt)
	}
	return h.typ, data, nil
}

// missing tells an object that is not there from one that cat-file calls missing, too, since it cannot read it:
// `cat-file -e` only looks whether there is one.
func (r *Repository) missing(ctx context.Context, want string, oid OID) error {
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
	entries, err := tree.ParseTree(data, len(oid.Bytes()))
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
