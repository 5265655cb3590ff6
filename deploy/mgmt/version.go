package mgmt

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
)

// version adds the version file to what is laid out, and gives its content; nil if none is set. Nothing that the tree
// has is replaced: code would read another content than the one that was committed.
func (l *layer) version(ctx context.Context, root *File) ([]byte, error) {
	path := l.o.VersionFile
	if path == "" {
		return nil, nil
	}
	names, dir := strings.Split(path, "/"), root
	for _, name := range names[:len(names)-1] {
		below := child(dir, name)
		switch {
		case below == nil:
			if err := l.count(ctx, name, leastDir); err != nil {
				return nil, err
			}
			below = &File{Name: name, Mode: dirMode}
			dir.Children = append(dir.Children, below)
			sortByName(dir.Children)
		case !below.Mode.IsDir():
			return nil, refuseSettings(path, "is set as the version file, and "+quote(name)+" is a file in the tree",
				"set the version file to another path")
		}
		dir = below
	}
	name := names[len(names)-1]
	if child(dir, name) != nil {
		return nil, refuseSettings(path, "is there already, and is set as the version file",
			"take it out of the tree and deploy again, or set the version file to another path")
	}
	if err := l.count(ctx, name, leastFile); err != nil {
		return nil, err
	}
	l.files++
	content := []byte(l.o.Version)
	dir.Children = append(dir.Children, &File{
		Name: name, Mode: fileMode, SHA256: sha256.Sum256(content), Size: int64(len(content)),
	})
	sortByName(dir.Children)
	return content, nil
}

// child is the entry of a directory with that name, nil if there is none.
func child(dir *File, name string) *File {
	if i := slices.IndexFunc(dir.Children, func(f *File) bool { return f.Name == name }); i >= 0 {
		return dir.Children[i]
	}
	return nil
}
