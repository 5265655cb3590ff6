package plan

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// maxKey is more than a key of a chain is long, in bytes.
const maxKey = record.MaxNamespace + 100

// Put writes what etcd lacks, bottom-up: contents and git objects first, then the nodes a level at a time, so that a
// node never names what is not there; or all of it in one txn, if it fits. count counts what it brings, before it does:
// at the beginning, which is unsure where more than one txn is needed, and then again when nearly all is there. Put may
// be called again after an error; when it has succeeded, nothing of what it wrote stays in memory.
func (p *Plan) Put(
	ctx context.Context, w *etcd.Writer, count func(unsure bool) error, progress func(text.Progress),
) error {
	if err := p.put(ctx, w, count, progress); err != nil {
		return err
	}
	p.Drop()
	return nil
}

// Drop forgets what was read, so that others have the memory. It must be called if Put is not, or fails for good, and
// may be called at any time.
func (p *Plan) Drop() {
	p.nodes, p.levels, p.contents, p.planned, p.late, p.missing = nil, nil, nil, nil, nil, nil
	p.objects, p.block = nil, superblock{}
	p.share.giveBack()
}

func (p *Plan) put(
	ctx context.Context, w *etcd.Writer, count func(unsure bool) error, progress func(text.Progress),
) error {
	tell := func() {
		_, bytes := w.Written()
		progress(text.Progress{Step: "storing", Bytes: min(bytes, p.NewBytes), BytesTotal: p.NewBytes})
	}
	barrier := w.Barrier
	isOne := p.isOne()
	if isOne {
		// What is one txn anyhow needs no order, and no wait for etcd's disk at each level.
		barrier = func() error { return nil }
	}
	if err := count(!isOne); err != nil {
		return err
	}
	if err := barrier(); err != nil {
		return err
	}
	if err := p.putContents(ctx, w, tell); err != nil {
		return err
	}
	if p.late != nil {
		if err := p.putLate(ctx, w, tell); err != nil {
			return err
		}
	}
	if err := barrier(); err != nil {
		return err
	}
	p.task.Log.DebugContext(ctx, "step", "at", "contents-put")
	for i, level := range p.levels {
		if !isOne && i == len(p.levels)-1 {
			if err := count(false); err != nil { // nearly all is there
				return err
			}
		}
		for _, d := range level {
			text := d.node.Text()
			if err := putChunks(w, store.ChunkKeys(p.task.Chain.TreeKey(d.oid), int64(len(text))), text); err != nil {
				return err
			}
		}
		if err := barrier(); err != nil {
			return err
		}
		tell()
	}
	if p.block.value != nil {
		// mgmt writes an empty one where it misses one, so it is there before the payload that names it.
		if err := w.Put(p.block.key, p.block.value); err != nil {
			return err
		}
	}
	err := w.Barrier()
	tell()
	return err
}

// isOne tells whether all of the plan fits into one txn, with the key that counts it and the chain's lock.
func (p *Plan) isOne() bool {
	return p.Keys < etcd.MaxOps-1 && p.NewBytes+int64(p.Keys+2)*maxKey <= etcd.BatchBytes
}

// putChunks puts a text, cut into chunks.
func putChunks(w *etcd.Writer, keys []string, text []byte) error {
	for i, key := range keys {
		start := i * tree.ChunkSize
		if err := w.Put(key, text[start:min(start+tree.ChunkSize, len(text))]); err != nil {
			return err
		}
	}
	return nil
}

// putContents puts git objects and contents.
func (p *Plan) putContents(ctx context.Context, w *etcd.Writer, tell func()) error {
	for key, raw := range p.objects {
		if err := w.Put(key, raw); err != nil {
			return err
		}
	}
	var again []*content
	for _, c := range p.missing {
		if c.kept == nil {
			again = append(again, c)
			continue
		}
		if err := w.Put(p.task.Chain.ContentKey(c.sum), c.kept); err != nil {
			return err
		}
		tell()
	}
	return p.putAgain(ctx, w, again, tell)
}

// putAgain reads contents a second time and writes them, large ones chunk by chunk.
func (p *Plan) putAgain(ctx context.Context, w *etcd.Writer, list []*content, tell func()) error {
	if len(list) == 0 {
		return nil // of a rollback there is no source
	}
	return p.task.Source.Blobs(ctx, oidsOf(list), func(i int, size int64, r io.Reader) error {
		c, sum := list[i], sha256.New()
		keys := c.keys(p.task.Chain)
		for k, key := range keys {
			chunk := make([]byte, min(tree.ChunkSize, size-int64(k)*tree.ChunkSize))
			if c.uncut {
				chunk = make([]byte, size)
			}
			if _, err := io.ReadFull(r, chunk); err != nil {
				return p.unread(&c.at, err)
			}
			_, _ = sum.Write(chunk) // a hash never fails
			if k == len(keys)-1 && tree.SHA256(sum.Sum(nil)) != c.sum {
				// The last chunk makes the content complete: without it the others are not taken for it.
				return fmt.Errorf("read %q: blob %s has other bytes than before", &c.at, c.oid)
			}
			if err := w.Put(key, chunk); err != nil {
				return err
			}
			tell()
		}
		return nil
	})
}
