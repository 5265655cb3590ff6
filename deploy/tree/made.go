package tree

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// MakeDirectory gives a directory with files by name, as if they lay on disk, for what is made to be deployed. from is
// the name of the file that it is made of. The contents belong to the directory then.
func MakeDirectory(f Format, from string, files map[string][]byte) (*Directory, error) {
	d := &Directory{format: f, Name: from, IsFile: true, Files: len(files), trees: map[OID][]Entry{}, made: map[OID][]byte{}}
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(files)) { // git's order, since all of them are files
		content := files[name]
		oid := HashObject(f, "blob", content)
		entries = append(entries, Entry{Name: name, Mode: filemode.Regular, OID: oid})
		d.made[oid] = content
		d.Bytes += int64(len(content))
	}
	if err := checkEntries(entries); err != nil {
		return nil, err
	}
	d.root = treeOID(f, entries)
	d.trees[d.root] = entries
	return d, nil
}

// Names are those of the entries at the directory's root, in git's order.
func (d *Directory) Names() []string {
	var names []string
	for _, e := range d.trees[d.root] {
		names = append(names, e.Name)
	}
	return names
}

// madeBlobs is Blobs of a directory that was made.
func (d *Directory) madeBlobs(
	ctx context.Context, oids []OID, fn func(i int, size int64, content io.Reader) error,
) error {
	for i, oid := range oids {
		content, ok := d.made[oid]
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !ok:
			return fmt.Errorf("read blob %s: %w", oid, ErrNotFound)
		}
		if err := fn(i, int64(len(content)), bytes.NewReader(content)); err != nil {
			return err
		}
	}
	return nil
}
