package mgmt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/text"
	"refship/deploy/tree"
)

// What Linux follows and takes, too.
const (
	maxLinks = 40   // links from one path to a file
	maxPath  = 4095 // bytes of a path
)

func isFile(e tree.Entry) bool { return e.Mode == filemode.Regular || e.Mode == filemode.Executable }

func isLink(e tree.Entry) bool { return e.Mode == filemode.Symlink }

// maxWalked bounds what all links of a tree take: bytes of the targets that are gone along, each as often as it is.
// A link to a link goes along both.
const maxWalked = 8 << 20

// place is a directory of the tree, and how it was reached. It does not change: to go down or up takes the same at any
// depth.
type place struct {
	above  *place // nil at the root
	name   string
	dir    tree.OID
	length int // bytes of the path of what is in it, without the last name
}

func (l *layer) root() *place { return &place{dir: l.src.Root} }

// path is that of name in this directory.
func (p *place) path(name string) string {
	path := make([]byte, p.length+len(name))
	copy(path[p.length:], name)
	for ; p.above != nil; p = p.above {
		path[p.length-1] = '/'
		copy(path[p.above.length:], p.name)
	}
	return string(path)
}

func (p *place) down(name string, dir tree.OID) *place {
	return &place{above: p, name: name, dir: dir, length: p.length + len(name) + 1}
}

// found is what a path leads to.
type found struct {
	file tree.Entry // if why is ""
	path string     // its path, without any link in it
	why  string     // there is no file: how to say that of the path
	gone bool       // there is nothing at all, and no link was on the way

	isDir bool // it is a directory
}

// lacks is why for the path that a setting names.
func (f found) lacks() string {
	if f.gone {
		return "is not in the tree"
	}
	return f.why
}

// follow goes along a path from a directory, as Linux does: element by element, through links, with ".." meaning what
// is above the directory that was reached. It stays in the tree; links is how many were followed already.
func (l *layer) follow(ctx context.Context, at *place, target string, links int) (found, error) {
	before := links
	no := func(why string) (found, error) { return found{why: why}, nil }
	if strings.HasPrefix(target, "/") {
		return no("is absolute")
	}
	todo, why, err := l.walk(ctx, nil, target)
	if err != nil || why != "" {
		return found{why: why}, err
	}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch name {
		case ".":
			continue
		case "..":
			if at = at.above; at == nil {
				return no("leaves the tree")
			}
			continue
		}
		n, err := l.node(at.dir)
		if err != nil {
			return found{}, err
		}
		switch e := n.find(name); {
		case e == nil:
			why := "leads nowhere: there is no " + quote(at.path(name)) + " in the tree"
			return found{why: why, gone: links == before}, nil
		case e.Mode == filemode.Dir:
			at = at.down(name, e.OID)
		case e.Mode == filemode.Submodule:
			return no("leads into the submodule " + quote(at.path(name)) + ", which is not deployed")
		case isLink(*e):
			if links++; links > maxLinks {
				return no(fmt.Sprintf("leads in a circle, or through more than %d links", maxLinks))
			}
			next, err := l.target(*e, name, at)
			if err != nil {
				return found{}, err
			}
			if strings.HasPrefix(next, "/") {
				return no("leads to the link " + quote(at.path(name)) + ", which is absolute")
			}
			if todo, why, err = l.walk(ctx, todo, next); err != nil || why != "" {
				return found{why: why}, err
			}
		case len(todo) > 0:
			return no("leads nowhere: " + quote(at.path(name)) + " is a file")
		default:
			return found{file: *e, path: at.path(name)}, nil
		}
	}
	return found{why: "is a directory", isDir: true}, nil
}

// walk puts the elements of a path before what is still to do, and charges for them. If why is not "", that is too
// much.
func (l *layer) walk(ctx context.Context, todo []string, path string) (all []string, why string, err error) {
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	if l.walked += len(path); l.walked > maxWalked {
		why = "leads too far: its target, those of the links before it, and of those that they lead to " +
			"have more than " + text.Size(maxWalked)
		return nil, why, nil
	}
	return append(todo, elements(path)...), "", nil
}

// elements are those of a path, the first one last. What ends with a slash ends with ".": it has to be a directory.
func elements(p string) []string {
	parts := strings.Split(p, "/")
	for i, name := range parts {
		if name == "" {
			parts[i] = "."
		}
	}
	slices.Reverse(parts)
	return parts
}

// target reads a link.
func (l *layer) target(e tree.Entry, name string, at *place) (string, error) {
	if t, ok := l.targets[e.OID]; ok {
		return t, nil
	}
	path := at.path(name)
	if e.Size < 1 || e.Size > tree.MaxLink {
		what := fmt.Sprintf("is a link with a target of %d bytes; 1 to %d are possible", e.Size, tree.MaxLink)
		return "", refuse(path, what,
			"remove the link or correct it, and deploy again")
	}
	target, err := l.content(e, path)
	if err != nil {
		return "", err
	}
	l.targets[e.OID] = string(target)
	return string(target), nil
}

// content reads a content that was found to be small.
func (l *layer) content(e tree.Entry, path string) ([]byte, error) {
	content, err := l.src.Content(e, path)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	if int64(len(content)) != e.Size {
		return nil, fmt.Errorf("read %q: it has %d bytes, and its entry says %d", path, len(content), e.Size)
	}
	return content, nil
}

// linked gives the file that a link leads to.
func (l *layer) linked(ctx context.Context, e tree.Entry, name string, at *place) (tree.Entry, error) {
	target, err := l.target(e, name, at)
	if err != nil {
		return tree.Entry{}, err
	}
	f, err := l.follow(ctx, at, target, 1)
	if err != nil {
		return tree.Entry{}, err
	}
	if f.why != "" {
		return tree.Entry{}, refuse(at.path(name), "is a link to "+quote(target)+", which "+f.why,
			"mgmt gets the content that a link leads to, if that is a file in the deployed tree: put a copy there, "+
				"or remove the link")
	}
	return f.file, nil
}
