package deploy

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

// keepBytes is how much new content one Prepared keeps in memory between reading and storing it; what is beyond is
// read a second time.
const keepBytes = 32 << 20

// content is a blob that the head's tree does not name.
type content struct {
	oid  tree.OID
	size int64
	sum  tree.SHA256
	link bool   // a symbolic link's target
	path string // one of its places
	kept []byte // nil: to be read again
	// uncut: the content is at one key whatever its size, beside the chunks that refship reads. mgmt reads no chunks.
	uncut bool
}

// keys are the keys that hold the content.
func (c *content) keys(chain *Chain) []string {
	if c.uncut {
		return []string{chain.ContentKey(c.sum)}
	}
	return store.ChunkKeys(chain.ContentKey(c.sum), c.size)
}

// planContent plans to read and store a content, once.
func (p *Prepared) planContent(oid tree.OID, where string, link bool) {
	c := p.contents[oid]
	if c == nil {
		c = &content{oid: oid, path: where}
		p.contents[oid] = c
		p.planned = append(p.planned, c)
	}
	if link && !c.link {
		c.link, c.path = true, where
	}
}

// readContents learns size and sha256 of every planned content, in one stream out of git or the directory.
func (p *Prepared) readContents(ctx context.Context, progress func(text.Progress)) error {
	list, oids := p.planned, make([]tree.OID, len(p.planned))
	for i, c := range list {
		oids[i] = c.oid
	}
	told, kept := text.Progress{Step: "reading", FilesTotal: len(list)}, int64(0)
	return p.job.Source().Blobs(ctx, oids, func(i int, size int64, r io.Reader) error {
		c := list[i]
		if c.size = size; p.job.MaxFile > 0 && size > p.job.MaxFile {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%q is %s; the limit is %s", c.path, text.ExactSize(size), text.ExactSize(p.job.MaxFile)),
				Reason: ReasonFileLarge,
			}
		}
		sum := tree.NewContentHash(size)
		if size <= tree.ChunkSize && kept+size <= keepBytes {
			c.kept = make([]byte, 0, size)
			kept += size
		}
		if err := c.read(r, sum, p.job.afterChange()); err != nil {
			return p.unread(c.path, err)
		}
		c.sum = sum.SHA256()
		told.Files++
		told.Bytes += size
		progress(told)
		return nil
	})
}

// unread says which content could not be read, once.
func (p *Prepared) unread(where string, err error) error {
	if errors.Is(err, tree.ErrChanged) || fault.Is(err, fault.Refused) {
		return err
	}
	return fmt.Errorf("read %q: %w", where, err)
}

// read takes a content in and checks that it is what its oid names.
func (c *content) read(r io.Reader, sum *tree.ContentHash, then string) error {
	if c.link && (c.size == 0 || c.size > tree.MaxLink) {
		return badLink(c.path, fmt.Sprintf("has a target of %d bytes; 1 to %d can be made", c.size, tree.MaxLink), then)
	}
	whole, to := bytes.NewBuffer(c.kept), io.Writer(sum)
	if c.kept != nil || c.link {
		to = io.MultiWriter(sum, whole)
	}
	n, err := io.Copy(to, io.LimitReader(r, c.size+1))
	if err != nil {
		return err
	}
	if n != c.size || sum.OID() != c.oid {
		return wrongBlob(c.oid)
	}
	if c.kept != nil {
		c.kept = whole.Bytes()
	}
	if c.link && bytes.IndexByte(whole.Bytes(), 0) >= 0 {
		return badLink(c.path, "has a NUL byte in its target", then)
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

// findMissing asks etcd which of the planned contents it has.
func (p *Prepared) findMissing(ctx context.Context) error {
	var keys []string
	var first []int // where a content's keys start
	for _, c := range p.planned {
		first = append(first, len(keys))
		keys = append(keys, c.keys(p.chain)...)
	}
	there, err := etcd.Exist(ctx, p.chain.kv, keys)
	if err != nil {
		return fmt.Errorf("look up contents in %s: %w", p.chain.ns, err)
	}
	first = append(first, len(keys))
	for i, c := range p.planned {
		complete := true
		for k := first[i]; k < first[i+1]; k++ {
			complete = complete && there[k]
		}
		if complete {
			c.kept = nil
			continue
		}
		p.missing = append(p.missing, c)
		if !c.uncut { // it is counted with its chunks
			p.NewContents++
		}
		p.NewBytes += c.size
		p.keys += first[i+1] - first[i]
	}
	return nil
}
