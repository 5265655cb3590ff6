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
	found   found
	// uncut: the content is at one key whatever its size, beside the chunks that refship reads. mgmt reads no chunks.
	uncut bool
}

// found is what etcd said of a content.
type found byte

const (
	unasked found = iota
	isThere
	isLacking
)

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

// learnSizes asks how large the planned contents are, and refuses what is too large.
func (p *Plan) learnSizes(ctx context.Context) error {
	sizes, err := p.task.Source.Sizes(ctx, oidsOf(p.planned))
	if err != nil {
		return err
	}
	total := int64(0)
	for i, c := range p.planned {
		if c.size = sizes[i]; p.task.MaxFile > 0 && c.size > p.task.MaxFile {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%q is %s; the limit is %s", &c.at, text.ExactSize(c.size), text.ExactSize(p.task.MaxFile)),
				Reason: ReasonFileLarge,
			}
		}
		if total += c.size; p.task.Small && total > etcd.BatchBytes {
			return ErrNotSmall
		}
	}
	return nil
}

func oidsOf(list []*content) []tree.OID {
	oids := make([]tree.OID, len(list))
	for i, c := range list {
		oids[i] = c.oid
	}
	return oids
}

// readContents learns the sha256 of contents, in one stream out of git or the directory, and keeps the first.
func (p *Plan) readContents(ctx context.Context, list []*content, progress func(text.Progress)) error {
	told := text.Progress{Step: "reading", FilesTotal: len(list)}
	return p.task.Source.Blobs(ctx, oidsOf(list), func(i int, size int64, r io.Reader) error {
		c := list[i]
		if c.size <= tree.ChunkSize && p.keeps+c.size <= keepBytes {
			c.kept = make([]byte, c.size)
			p.keeps += c.size
		}
		if err := p.readContent(c, size, r); err != nil {
			return err
		}
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

// readContent takes a content in, into what is to be kept of it, and checks that it is what its oid names.
func (p *Plan) readContent(c *content, size int64, r io.Reader) error {
	err := c.read(size, r, p.task.Then)
	if err != nil {
		return p.unread(&c.at, err)
	}
	return nil
}

func (c *content) read(size int64, r io.Reader, then string) error {
	if c.link && (c.size == 0 || c.size > tree.MaxLink) {
		why := fmt.Sprintf("has a target of %d bytes; 1 to %d can be made", c.size, tree.MaxLink)
		return badLink(c.at.String(), why, then)
	}
	if size != c.size {
		return wrongBlob(c.oid)
	}
	sum, whole, err := tree.NewContentHash(c.oid.Format(), size), c.kept, error(nil)
	if whole == nil && (c.link || size < maxPointer) {
		whole = make([]byte, size)
	}
	if whole == nil {
		_, err = io.CopyN(sum, r, size)
	} else if _, err = io.ReadFull(r, whole); err == nil {
		_, _ = sum.Write(whole) // a hash never fails
	}
	if err != nil {
		return err
	}
	if sum.OID() != c.oid {
		return wrongBlob(c.oid)
	}
	c.sum, c.pointer = sum.SHA256(), whole != nil && isPointer(whole)
	if c.link && bytes.IndexByte(whole, 0) >= 0 {
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

// areStored asks etcd which contents it has, byte by byte: the head does not vouch for them.
func (p *Plan) areStored(ctx context.Context, list []*content) ([]bool, error) {
	asked := make([]store.Content, len(list))
	for i, c := range list {
		asked[i] = store.Content{Keys: c.keys(p.task.Chain), Size: c.size, SHA256: c.sum}
	}
	stored, err := p.task.Chain.AreStored(ctx, asked)
	if err != nil {
		return nil, fmt.Errorf("look up contents in %s: %w", p.task.Chain.Namespace(), err)
	}
	return stored, nil
}

// findMissing asks which of some contents etcd lacks, and counts those.
func (p *Plan) findMissing(ctx context.Context, list []*content) error {
	stored, err := p.areStored(ctx, list)
	if err != nil {
		return err
	}
	for i, c := range list {
		if stored[i] {
			c.kept = nil
			p.isThere(c.keys(p.task.Chain)...)
			continue
		}
		p.missing = append(p.missing, c)
		p.countContent(c, 1)
	}
	return nil
}

// findPlanned is findMissing of what was read. What is late is counted as if etcd lacked it.
func (p *Plan) findPlanned(ctx context.Context) error {
	for _, c := range p.late {
		p.countContent(c, 1)
	}
	return p.findMissing(ctx, p.planned)
}

// countContent counts a content that is to be stored; times is -1 if it is not, after all.
func (p *Plan) countContent(c *content, times int) {
	if !c.uncut { // it is counted with its chunks
		p.NewContents += times
	}
	p.NewBytes += int64(times) * c.size
	p.Keys += times * len(c.keys(p.task.Chain))
}
