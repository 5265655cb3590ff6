package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// ReasonFileLarge: a file is larger than Task.MaxFile.
const ReasonFileLarge fault.Reason = "file-large"

// keepBytes is how much new content one Plan keeps in memory between reading and storing it; what is beyond is
// read a second time.
const keepBytes = 32 << 20

// content is a blob that the head's tree does not name.
type content struct {
	oid  tree.OID
	size int64
	sum  tree.SHA256
	link bool  // a symbolic link's target
	at   place // one of its places
	// pointer: it looks like a Git LFS pointer.
	pointer bool
	kept    []byte // nil: to be read again
	// uncut: the content is at one key whatever its size, beside the chunks that refship reads. mgmt reads no chunks.
	uncut bool
}

// keys are the keys that hold the content.
func (c *content) keys(chain *store.Chain) []string {
	if c.uncut {
		return []string{chain.ContentKey(c.sum)}
	}
	return store.ChunkKeys(chain.ContentKey(c.sum), c.size)
}

// planContent plans to read and store a content, once.
func (p *Plan) planContent(ctx context.Context, oid tree.OID, at place, link bool) error {
	c := p.contents[oid]
	if c == nil {
		if err := p.share.take(ctx, fileMemory); err != nil {
			return err
		}
		c = &content{oid: oid, at: at}
		p.contents[oid] = c
		if p.planned = append(p.planned, c); p.task.Small && len(p.planned) > etcd.MaxOps {
			return ErrNotSmall
		}
	}
	if link && !c.link {
		c.link, c.at = true, at
	}
	return nil
}

// readContents learns size and sha256 of every planned content, in one stream out of git or the directory.
func (p *Plan) readContents(ctx context.Context, progress func(text.Progress)) error {
	list, oids := p.planned, make([]tree.OID, len(p.planned))
	for i, c := range list {
		oids[i] = c.oid
	}
	told, kept := text.Progress{Step: "reading", FilesTotal: len(list)}, int64(0)
	return p.task.Source.Blobs(ctx, oids, func(i int, size int64, r io.Reader) error {
		c := list[i]
		if c.size = size; p.task.MaxFile > 0 && size > p.task.MaxFile {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%q is %s; the limit is %s", &c.at, text.ExactSize(size), text.ExactSize(p.task.MaxFile)),
				Reason: ReasonFileLarge,
			}
		}
		if p.task.Small && told.Bytes+size > etcd.BatchBytes {
			return ErrNotSmall
		}
		sum := tree.NewContentHash(c.oid.Format(), size)
		if size <= tree.ChunkSize && kept+size <= keepBytes {
			c.kept = make([]byte, 0, size)
			kept += size
		}
		if err := c.read(r, sum, p.task.Then); err != nil {
			return p.unread(&c.at, err)
		}
		c.sum = sum.SHA256()
		told.Files++
		told.Bytes += size
		progress(told)
		return nil
	})
}

// unread says which content could not be read, once.
func (p *Plan) unread(where fmt.Stringer, err error) error {
	if errors.Is(err, tree.ErrChanged) || fault.Is(err, fault.Refused) {
		return err
	}
	return fmt.Errorf("read %q: %w", where, err)
}

// read takes a content in and checks that it is what its oid names.
func (c *content) read(r io.Reader, sum *tree.ContentHash, then string) error {
	if c.link && (c.size == 0 || c.size > tree.MaxLink) {
		why := fmt.Sprintf("has a target of %d bytes; 1 to %d can be made", c.size, tree.MaxLink)
		return badLink(c.at.String(), why, then)
	}
	whole, to := bytes.NewBuffer(c.kept), io.Writer(sum)
	if c.kept != nil || c.link || c.size < maxPointer {
		to = io.MultiWriter(sum, whole)
	}
	n, err := io.Copy(to, io.LimitReader(r, c.size+1))
	if err != nil {
		return err
	}
	if n != c.size || sum.OID() != c.oid {
		return wrongBlob(c.oid)
	}
	c.pointer = isPointer(whole.Bytes())
	if c.kept != nil {
		c.kept = whole.Bytes()
	}
	if c.link && bytes.IndexByte(whole.Bytes(), 0) >= 0 {
		return badLink(c.at.String(), "has a NUL byte in its target", then)
	}
	return nil
}

func wrongBlob(oid tree.OID) error {
	return fmt.Errorf("something other than blob %s was handed over", oid)
}

// badLink refuses a symbolic link.
func badLink(path, why, then string) error {
	return fault.New(fault.Refused, fmt.Sprintf("symbolic link %q %s", path, why), "remove the link or correct it, "+then)
}

// findMissing asks etcd which of the planned contents it has, byte by byte: the head does not vouch for them.
func (p *Plan) findMissing(ctx context.Context) error {
	asked := make([]store.Content, len(p.planned))
	for i, c := range p.planned {
		asked[i] = store.Content{Keys: c.keys(p.task.Chain), Size: c.size, SHA256: c.sum}
	}
	stored, err := p.task.Chain.AreStored(ctx, asked)
	if err != nil {
		return fmt.Errorf("look up contents in %s: %w", p.task.Chain.Namespace(), err)
	}
	for i, c := range p.planned {
		if stored[i] {
			c.kept, p.There = nil, append(p.There, asked[i].Keys...)
			continue
		}
		p.missing = append(p.missing, c)
		if !c.uncut { // it is counted with its chunks
			p.NewContents++
		}
		p.NewBytes += c.size
		p.Keys += len(asked[i].Keys)
	}
	return nil
}
