package bundle

import (
	"bytes"
	"fmt"

	"refship/deploy/record"
)

// MaxRaw is the largest block, in bytes.
const MaxRaw = maxRaw

// FromBytes opens what a file would hold.
func FromBytes(b []byte) (*File, error) {
	f, err := newFile("a test", bytes.NewReader(b), int64(len(b)))
	if err == nil {
		f.close = func() error { return nil }
	}
	return f, err
}

// All calls fn for every key.
func (f *File) All(fn func(key string, value []byte)) error {
	return f.ascend("", "\xff", func(key string, value []byte) bool {
		fn(key, value)
		return true
	})
}

// Blocks is how many blocks there are, and Cached what those take that are kept.
func (f *File) Blocks() int   { return len(f.blocks) }
func (f *File) Cached() int64 { return f.cache }

// Belongs tells whether a key may be in a bundle of a namespace.
func Belongs(ns record.Namespace, key string) bool { return belongs(ns, key) }

// Forged makes a bundle of frames that hold what they like: a line of the index for each, with the offset, size and
// sha256 put in.
func Forged(h Header, frames [][]byte, lines []string) ([]byte, error) {
	var to bytes.Buffer
	w, err := newWriter(&to, &h)
	if err != nil {
		return nil, err
	}
	for i, frame := range frames {
		var b block
		if _, err := fmt.Sscan(lines[i], &b.raw, &b.keys, &b.first, &b.last); err != nil {
			return nil, err
		}
		b.offset, b.size, b.sum = w.offset, int64(len(frame)), sumOf(frame)
		w.index.WriteString(b.line())
		if err := w.write(frame); err != nil {
			return nil, err
		}
	}
	_, err = w.end()
	return to.Bytes(), err
}

// Frame compresses entries.
func Frame(entries ...string) (frame, raw []byte) {
	w, err := newWriter(new(bytes.Buffer), new(Header))
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(entries); i += 2 {
		raw = appendEntry(raw, entries[i], []byte(entries[i+1]))
	}
	return w.zstd.EncodeAll(raw, nil), raw
}

// Written makes a bundle of keys that are sorted.
func Written(h Header, keys []string, value func(key string) []byte) ([]byte, error) {
	var to bytes.Buffer
	w, err := newWriter(&to, &h)
	for _, key := range keys {
		if err == nil {
			err = w.add(key, value(key))
		}
	}
	if err == nil {
		_, err = w.end()
	}
	return to.Bytes(), err
}
