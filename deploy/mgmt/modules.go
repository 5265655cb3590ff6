package mgmt

import (
	"context"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// modulesName is the directory in which lang finds modules that the code imports by URL.
const modulesName = "modules"

// modules lays a directory of the tree out a second time, where mgmt looks for modules.
func (l *layer) modules(ctx context.Context, root *File) error {
	path := l.o.Modules
	if path == "" {
		return nil
	}
	at := l.root()
	for name := range strings.SplitSeq(path, "/") {
		n, err := l.node(at.dir)
		if err != nil {
			return err
		}
		e := n.find(name)
		switch {
		case e == nil:
			return refuseSettings(path, "is not in the tree, and is set as the module path",
				"add it and deploy again, or set the module path to another directory")
		case e.Mode != filemode.Dir:
			return refuseSettings(path, "is no directory, and is set as the module path",
				"set the module path to a directory of the tree")
		}
		at = at.down(name, e.OID)
	}
	if path == modulesName { // it is there already
		return nil
	}
	n, err := l.node(l.src.Root)
	if err != nil {
		return err
	}
	if n.find(modulesName) != nil {
		return refuseSettings(modulesName, "is in the tree, and the module path is set to "+quote(path)+
			", which mgmt would find there", "move one of them into the other, or unset the module path")
	}
	if err := l.count(ctx, modulesName, leastDir); err != nil {
		return err
	}
	below, err := l.dir(ctx, l.root().down(modulesName, at.dir))
	if err != nil {
		return err
	}
	root.Children = append(root.Children, below)
	sortByName(root.Children)
	return nil
}
