package plan

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

const (
	// blobsAtOnce is how many files are asked for together.
	blobsAtOnce = 1000
	// maxWritten bounds how many files, links and directories are written: a few trees that name each other many times
	// make billions of them.
	maxWritten = 1_000_000
)

// WriteTree writes a tree into the empty directory dir, straight from where it is: no attribute and no filter of git's
// changes a byte, and there is no .git. Links are made and never followed, submodules are empty directories, and paths
// go through os.Root: nothing is written outside of dir, whatever links and names the tree has. A tree that would take
// more than limit bytes on disk is a fault.Refused; some files are then written already.
func WriteTree(
	ctx context.Context, from Source, oid tree.OID, dir string, limit int64, progress func(text.Progress),
) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := &treeWriter{
		from: from, root: root, limit: limit, left: limit, entries: maxWritten,
		buf: make([]byte, 128<<10), told: text.Progress{Step: "writing"}, tell: progress,
	}
	return w.write(ctx, oid)
}

// written is a file, link or directory of the tree.
type written struct {
	path  string
	entry tree.Entry
}

// treeWriter writes a tree below root.
type treeWriter struct {
	from    Source
	root    *os.Root
	limit   int64
	left    int64 // bytes on disk that may still be taken
	entries int   // files, links and directories that may still be made
	batch   []written
	buf     []byte
	told    text.Progress
	tell    func(text.Progress)
}

func (w *treeWriter) write(ctx context.Context, root tree.OID) error {
	for dirs := []written{{"", tree.Entry{OID: root}}}; len(dirs) > 0; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		entries, err := w.from.Tree(dir.entry.OID)
		if err != nil {
			return fmt.Errorf("read directory %q: %w", dir.path, err)
		}
		for _, e := range entries {
			at := written{path.Join(dir.path, e.Name), e}
			switch e.Mode {
			case filemode.Dir:
				dirs = append(dirs, at)
				err = w.mkdir(at.path)
			case filemode.Submodule:
				err = w.mkdir(at.path)
			default:
				if w.batch = append(w.batch, at); len(w.batch) == blobsAtOnce {
					err = w.flush(ctx)
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return w.flush(ctx)
}

// count takes what is about to be made off what is left.
func (w *treeWriter) count(where string, size int64) error {
	if w.entries--; w.entries < 0 {
		return tooMuchToWrite(fmt.Sprintf("more than %d files and directories", maxWritten))
	}
	blocks := max(size+store.DiskBlock-1, store.DiskBlock) / store.DiskBlock
	if blocks > w.left/store.DiskBlock {
		return tooMuchToWrite(fmt.Sprintf("with %q more than %s", where, text.Size(w.limit)))
	}
	w.left -= blocks * store.DiskBlock
	return nil
}

func tooMuchToWrite(what string) error {
	return fault.New(fault.Refused, "the tree is too large to be written out: it has "+what,
		"make it smaller, or ask the server's operator for more room on its disk")
}

func (w *treeWriter) mkdir(where string) error {
	if err := w.count(where, 0); err != nil {
		return err
	}
	return w.root.Mkdir(where, 0o777)
}

// flush writes the files that were not asked for yet.
func (w *treeWriter) flush(ctx context.Context) error {
	oids := make([]tree.OID, len(w.batch))
	for i, p := range w.batch {
		oids[i] = p.entry.OID
	}
	err := w.from.Blobs(ctx, oids, func(i int, size int64, content io.Reader) error {
		p := w.batch[i]
		if err := w.count(p.path, size); err != nil {
			return err
		}
		if err := w.content(p, size, content); err != nil {
			return fmt.Errorf("%q: %w", p.path, err)
		}
		w.told.Files++
		w.told.Bytes += size
		w.tell(w.told)
		return nil
	})
	w.batch = w.batch[:0]
	return err
}

// content writes one file or link, and checks that it is what its oid names.
func (w *treeWriter) content(p written, size int64, content io.Reader) error {
	if p.entry.Mode == filemode.Symlink && size > tree.MaxLink {
		why := fmt.Sprintf("has a target of %d bytes; 1 to %d can be made", size, tree.MaxLink)
		return badLink(p.path, why, "then push or deploy again")
	}
	sum := tree.HashBlob(p.entry.OID.Format(), size)
	err := store.WriteFile(w.root, p.path, p.entry.Mode, func(f io.Writer) error {
		_, err := io.CopyBuffer(io.MultiWriter(f, sum), content, w.buf)
		return err
	})
	if err == nil && sum.OID() != p.entry.OID {
		err = wrongBlob(p.entry.OID)
	}
	return err
}
