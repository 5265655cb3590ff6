package bundle

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// writer writes a bundle. Keys are added in their order.
type writer struct {
	to     io.Writer
	ns     record.Namespace
	zstd   *zstd.Encoder
	offset int64        // in the file
	index  bytes.Buffer // lines
	sum    hash.Hash    // of the header's lines, and then of the index's

	raw  []byte // of the block that is not written yet
	next block
	last string // key; "": none yet

	counts Counts
}

// Counts say what is in a bundle.
type Counts struct {
	Keys  int64
	Bytes int64 // of keys and values, uncompressed
	Size  int64 // of the file, in bytes
}

// newWriter begins a bundle.
func newWriter(to io.Writer, h *Header) (*writer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, fmt.Errorf("make an encoder of zstd: %w", err)
	}
	w := &writer{to: to, ns: h.Namespace, zstd: encoder, sum: sha256.New()}
	lines, err := h.encode()
	if err != nil {
		return nil, err
	}
	w.sum.Write(lines)
	return w, w.write(append(skippable(headerMagic, len(lines)), lines...))
}

func (w *writer) write(b []byte) error {
	n, err := w.to.Write(b)
	w.offset += int64(n)
	return err
}

// add adds a key.
func (w *writer) add(key string, value []byte) error {
	switch {
	case !belongs(w.ns, key) || key <= w.last:
		return fmt.Errorf("write key %q after %q: it does not belong there", key, w.last)
	case len(key)+len(value) > maxRaw-64:
		return fault.Newf(fault.Refused, "key %q has %d bytes: a bundle holds values of up to %d", key, len(value),
			maxRaw-64-len(key))
	}
	if len(w.raw) > 0 && len(w.raw)+len(key)+len(value) > blockSize {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	if len(w.raw) == 0 {
		w.next.first = key
	}
	w.raw = appendEntry(w.raw, key, value)
	w.next.keys++
	w.last = key
	return nil
}

// endBlock writes the block.
func (w *writer) endBlock() error {
	if len(w.raw) == 0 {
		return nil
	}
	b := &w.next
	frame := w.zstd.EncodeAll(w.raw, nil)
	b.offset, b.size, b.raw, b.sum, b.last = w.offset, int64(len(frame)), int64(len(w.raw)), sumOf(frame), w.last
	if err := w.write(frame); err != nil {
		return err
	}
	w.counts.Keys += b.keys
	w.counts.Bytes += b.raw
	if w.index.WriteString(b.line()); w.index.Len() > maxIndex-endLength {
		return fault.Newf(fault.Refused, "the chain has too many keys for one bundle: its index has more than %d bytes",
			maxIndex)
	}
	w.raw, w.next = w.raw[:0], block{}
	return nil
}

func sumOf(frame []byte) tree.SHA256 { return sha256.Sum256(frame) }

// end writes the last block and the index.
func (w *writer) end() (Counts, error) {
	if err := w.endBlock(); err != nil {
		return Counts{}, err
	}
	w.sum.Write(w.index.Bytes())
	w.index.WriteString(endLine(w.offset, w.sum))
	err := w.write(append(skippable(indexMagic, w.index.Len()), w.index.Bytes()...))
	w.counts.Size = w.offset
	return w.counts, err
}
