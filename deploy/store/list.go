package store

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// ReasonNoPath: the deploy has nothing at a path.
const ReasonNoPath fault.Reason = "path-not-in-deploy"

// noPath says that a deploy has nothing at a path, which is raw bytes.
func noPath(where, why string) error {
	return &fault.Error{Kind: fault.Failed, What: fmt.Sprintf("path %q: %s", where, why), Reason: ReasonNoPath}
}

// inWords names a directory of a deploy.
func inWords(dir string) string {
	if dir == "" {
		return "the deploy's root"
	}
	return strconv.Quote(dir)
}

// find walks from the root to what is at a path: "" is the root. The walk follows no symbolic link.
func (n *Nodes) find(ctx context.Context, root tree.Entry, where string) (tree.Entry, error) {
	at := root
	if where == "" {
		return at, nil
	}
	var done string
	for _, name := range strings.Split(where, "/") {
		if at.Mode != dirMode {
			return at, noPath(where, fmt.Sprintf("%q is no directory", done))
		}
		if err := n.loadVerified(ctx, &at); err != nil {
			return at, err
		}
		entries := n.Node(at.OID).Entries
		next := slices.IndexFunc(entries, func(e tree.Entry) bool { return e.Name == name })
		if next < 0 {
			return at, noPath(where, fmt.Sprintf("there is no %q in %s", name, inWords(done)))
		}
		at, done = entries[next], path.Join(done, name)
	}
	return at, nil
}

// List calls fn for the entries of the directory at where ("" is the root), or for the one file that is there, with
// their paths; recursive goes into directories, for which fn is then not called. Every node is checked on the way.
// Paths are raw bytes, elements joined with "/".
func (c *Chain) List(
	ctx context.Context, d *record.Deploy, where string, recursive bool, fn func(path string, e tree.Entry) error,
) (err error) {
	defer func() { err = c.Explain(ctx, err, d) }()
	n := c.NewNodes()
	where, asDir := strings.CutSuffix(where, "/")
	at, err := n.root(ctx, d)
	if err == nil {
		at, err = n.find(ctx, at, where)
	}
	if err != nil {
		return fmt.Errorf("list deploy %d: %w", d.ID, err)
	}
	switch {
	case at.Mode != dirMode && asDir:
		return fmt.Errorf("list deploy %d: %w", d.ID, noPath(where+"/", "it is no directory"))
	case at.Mode != dirMode:
		return fn(where, at)
	}
	if err := n.loadVerified(ctx, &at); err != nil {
		return err
	}
	if recursive { // what differs from nothing
		if _, err := n.Tally(ctx, tree.Entry{}, at); err != nil {
			return fmt.Errorf("list deploy %d: %w", d.ID, err)
		}
		return n.Diff(ctx, tree.Entry{}, at, func(c Change) error { return fn(path.Join(where, c.Path), *c.New) })
	}
	for _, e := range n.Node(at.OID).Entries {
		if err := fn(path.Join(where, e.Name), e); err != nil {
			return err
		}
	}
	return nil
}
