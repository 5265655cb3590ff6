package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// AttributesFile is where a tree says what is special about its files: gitattributes(5).
const AttributesFile = ".gitattributes"

// WithFilter gives those of paths to which the .gitattributes files of a commit's tree give filter=name, in their
// order. root is that tree; a path need not be in it. git decides, with an index that has those files and nothing else
// (git check-attr --source is younger than the oldest git that we run).
func (r *Repository) WithFilter(ctx context.Context, root OID, name string, paths []string) (_ []string, err error) {
	files, err := r.attributesAbove(root, paths)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "refship-index-")
	if err != nil {
		return nil, fmt.Errorf("read attributes: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	index := filepath.Join(dir, "index")
	if _, err := r.runOnIndex(ctx, index, files, "update-index", "-z", "--index-info"); err != nil {
		return nil, err
	}
	asked := []byte(strings.Join(paths, "\x00") + "\x00")
	out, err := r.runOnIndex(ctx, index, asked, "check-attr", "-z", "--stdin", "--cached", "filter")
	if err != nil {
		return nil, err
	}
	fields := strings.Split(string(out), "\x00") // path, attribute, value, and so on; nothing behind the last one
	if len(fields) != 3*len(paths)+1 {
		return nil, fmt.Errorf("read attributes: git check-attr gave %d fields for %d paths", len(fields), len(paths))
	}
	var all []string
	for i, p := range paths {
		if fields[3*i] != p {
			return nil, fmt.Errorf("read attributes: git check-attr answers for %q where %q was asked", fields[3*i], p)
		}
		if fields[3*i+2] == name {
			all = append(all, p)
		}
	}
	return all, nil
}

// AttributesAbove gives the oids of the .gitattributes of the directories above a path in a tree, from the root down;
// zero where there is none.
func (r *Repository) AttributesAbove(root OID, where string) ([]OID, error) {
	if where == "" {
		return nil, nil
	}
	var all []OID
	for name := range strings.SplitSeq(where, "/") {
		entries, err := r.Tree(root)
		if err != nil {
			return nil, fmt.Errorf("read attributes: %w", err)
		}
		var own OID
		if e := find(entries, AttributesFile); e != nil {
			own = e.OID
		}
		all = append(all, own)
		below := find(entries, name)
		if below == nil || below.Mode != filemode.Dir {
			break
		}
		root = below.OID
	}
	return all, nil
}

// attributesAbove lists the .gitattributes files of the directories that paths are in, for update-index --index-info.
func (r *Repository) attributesAbove(root OID, paths []string) ([]byte, error) {
	dirs := map[string]OID{".": root} // zero: there is no such directory
	var list bytes.Buffer
	look := func(dir string) error {
		if dirs[dir].IsZero() {
			return nil
		}
		entries, err := r.Tree(dirs[dir])
		if err != nil {
			return err
		}
		for _, e := range entries {
			switch below := path.Join(dir, e.Name); {
			case e.Mode == filemode.Dir:
				dirs[below] = e.OID
			case e.Name == AttributesFile && (e.Mode == filemode.Regular || e.Mode == filemode.Executable):
				fmt.Fprintf(&list, "100644 %s\t%s\x00", e.OID, below)
			}
		}
		return nil
	}
	seen := map[string]bool{}
	for _, p := range paths {
		var above []string
		for dir := path.Dir(p); ; dir = path.Dir(dir) {
			above = append(above, dir)
			if dir == "." {
				break
			}
		}
		slices.Reverse(above)
		for _, dir := range above {
			if seen[dir] {
				continue
			}
			seen[dir] = true
			if err := look(dir); err != nil {
				return nil, fmt.Errorf("read attributes: %w", err)
			}
		}
	}
	return list.Bytes(), nil
}

// runOnIndex is run with an index of its own, a standard input, and a work tree that git need not look for. Attributes
// of the machine do not count.
func (r *Repository) runOnIndex(ctx context.Context, index string, input []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })()
	env := slices.Concat(r.env, []string{"GIT_INDEX_FILE=" + index, "GIT_WORK_TREE=" + r.dir, "GIT_ATTR_NOSYSTEM=1"})
	cmd := command(ctx, r.dir, env, args...)
	cmd.Stdin = bytes.NewReader(input)
	return output(ctx, cmd, args[0], r.limits())
}
