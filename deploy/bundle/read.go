package bundle

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"refship/deploy/fault"
	"refship/deploy/store"
	"refship/deploy/text"
)

// ErrDamaged: a file is no bundle, or not what it was when it was written.
var ErrDamaged = errors.New("the bundle is damaged")

// cacheBytes is what blocks take in memory that are kept to be read again.
const cacheBytes = 32 << 20

// File is a bundle that was opened. It is a store.Reader of a chain that does not change: its revision is always 1.
type File struct {
	Header Header

	name   string
	from   io.ReaderAt
	close  func() error
	zstd   *zstd.Decoder
	blocks []block
	keys   int64
	raw    int64 // bytes of all blocks uncompressed

	mu     sync.Mutex
	cached map[int]*list.Element // of *entries, by number of the block
	used   *list.List            // the last used one first
	cache  int64                 // bytes that they take
}

// entries are those of a block.
type entries struct {
	block  int
	keys   []string // ascending
	values [][]byte
	bytes  int64 // that they take in memory
}

// Suffix is what the name of a bundle best ends with.
const Suffix = ".refship"

// IsOf tells whether what is named in place of a chain is a bundle: a path with a "/" in it, as no repository has it.
func IsOf(name string) bool {
	return strings.HasPrefix(name, "/") || strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") ||
		strings.Contains(name, "/") && strings.HasSuffix(name, Suffix)
}

// Open opens a bundle, and reads its index. It must be closed.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is not waited for
	if err != nil {
		return nil, fmt.Errorf("open a bundle: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.Newf(fault.Failed, "open a bundle: %s is no file", text.Printable(path))
	}
	var b *File
	if err == nil {
		b, err = newFile(path, f, info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b.close = f.Close
	return b, nil
}

// newFile is Open of what is open.
func newFile(name string, from io.ReaderAt, size int64) (*File, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, fmt.Errorf("make a decoder of zstd: %w", err)
	}
	f := &File{name: name, from: from, zstd: decoder, cached: map[int]*list.Element{}, used: list.New()}
	if err := f.readIndex(size); err != nil {
		decoder.Close()
		return nil, f.damaged(err)
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error {
	f.zstd.Close()
	return f.close()
}

// Chain is the chain that the bundle has.
func (f *File) Chain() *store.Chain { return store.New(f, f.Header.Namespace) }

// Bytes is how many bytes the bundle's keys and values have, uncompressed.
func (f *File) Bytes() int64 { return f.raw }

func (f *File) damaged(err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	return &fault.Error{
		Kind: fault.Corrupt, What: fmt.Sprintf("%s is no sound bundle: %s", text.Printable(f.name), text.Printable(err.Error())),
		Remedy: "get it again from where it was made: refship export writes another one", Cause: errors.Join(ErrDamaged, err),
	}
}

// readFrame reads what a skippable frame holds.
func (f *File) readFrame(magic uint32, offset, limit int64) ([]byte, error) {
	head := make([]byte, frameHead)
	if _, err := f.from.ReadAt(head, offset); err != nil {
		return nil, errors.New("it is cut off")
	}
	length := int64(binary.LittleEndian.Uint32(head[4:]))
	if binary.LittleEndian.Uint32(head) != magic || length > limit {
		return nil, errors.New("it begins in another way than a bundle of format 1")
	}
	held := make([]byte, length)
	if _, err := f.from.ReadAt(held, offset+frameHead); err != nil {
		return nil, errors.New("it is cut off")
	}
	return held, nil
}

// readIndex reads header and index.
func (f *File) readIndex(size int64) error {
	lines, err := f.readFrame(headerMagic, 0, min(maxHeader, size))
	if err != nil {
		return err
	}
	header, err := parseHeader(lines)
	if err != nil {
		return err
	}
	f.Header = *header
	end := make([]byte, endLength)
	if _, err := f.from.ReadAt(end, max(0, size-int64(endLength))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	at, sum, err := parseEnd(string(end))
	if err != nil {
		return err
	}
	blocksFrom := frameHead + int64(len(lines))
	if at < blocksFrom || at > size-frameHead-int64(endLength) || size-at > maxIndex+frameHead {
		return errors.New("its end names no index")
	}
	index, err := f.readFrame(indexMagic, at, size-at-frameHead)
	if err != nil {
		return err
	}
	if int64(len(index)) != size-at-frameHead {
		return errors.New("its index does not end where it ends")
	}
	index = index[:len(index)-endLength]
	is := sha256.New()
	is.Write(lines)
	is.Write(index)
	if fmt.Sprintf("%x", is.Sum(nil)) != sum {
		return errors.New("its index is not the one that was written")
	}
	return f.parseIndex(string(index), blocksFrom, at)
}

// parseIndex reads the lines of the index. Blocks lie between two offsets.
func (f *File) parseIndex(index string, from, to int64) error {
	last := ""
	for line := range strings.Lines(index) {
		b, err := parseLine(strings.TrimSuffix(line, "\n")) // the last one is followed by the line "end"
		switch ns := f.Header.Namespace; {
		case err != nil:
			return fmt.Errorf("a line of its index cannot be read: %w", err)
		case b.offset != from || b.size == 0 || b.size > min(maxFrame, to-from):
			return errors.New("its blocks are not where its index says")
		case b.raw == 0 || b.raw > maxRaw || b.keys == 0 || b.keys > b.raw:
			return errors.New("a block is too large, or has nothing")
		case b.first <= last || b.last < b.first || (b.keys == 1) != (b.first == b.last):
			return errors.New("keys of its index are not in order")
		case !belongs(ns, b.first) || !belongs(ns, b.last):
			return fmt.Errorf("it has a key that does not belong into %s", ns)
		}
		from, last = from+b.size, b.last
		f.keys += b.keys
		f.raw += b.raw
		f.blocks = append(f.blocks, b)
	}
	if from != to {
		return errors.New("its blocks are not where its index says")
	}
	return nil
}

// entries reads a block, or has kept it.
func (f *File) entries(i int) (*entries, error) {
	f.mu.Lock()
	if at := f.cached[i]; at != nil {
		f.used.MoveToFront(at)
		f.mu.Unlock()
		return at.Value.(*entries), nil
	}
	f.mu.Unlock()
	read, err := f.readBlock(i)
	if err != nil {
		b := f.blocks[i]
		return nil, f.damaged(fmt.Errorf("block %d, at byte %d: %w", i+1, b.offset, err))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cached[i] == nil {
		f.cached[i] = f.used.PushFront(read)
		f.cache += read.bytes
	}
	for f.cache > cacheBytes && f.used.Len() > 1 {
		oldest := f.used.Remove(f.used.Back()).(*entries)
		delete(f.cached, oldest.block)
		f.cache -= oldest.bytes
	}
	return read, nil
}

// readBlock reads and checks a block.
func (f *File) readBlock(i int) (*entries, error) {
	b := &f.blocks[i]
	frame := make([]byte, b.size)
	if _, err := f.from.ReadAt(frame, b.offset); err != nil {
		return nil, err
	}
	if sha256.Sum256(frame) != b.sum {
		return nil, errors.New("it is not what was written")
	}
	raw, err := f.zstd.DecodeAll(frame, make([]byte, 0, b.raw))
	switch {
	case err != nil:
		return nil, err
	case int64(len(raw)) != b.raw:
		return nil, errors.New("it has another size than its index says")
	}
	return f.parseBlock(i, b, raw)
}

// parseBlock reads a block's entries.
func (f *File) parseBlock(i int, b *block, raw []byte) (*entries, error) {
	read := &entries{block: i, bytes: int64(cap(raw))}
	last := ""
	for len(raw) > 0 {
		key, value, rest, err := cutEntry(raw)
		switch {
		case err != nil:
			return nil, err
		case key <= last:
			return nil, fmt.Errorf("key %s is there twice, or not in order", text.Mention(text.Clip(key)))
		case !belongs(f.Header.Namespace, key):
			return nil, fmt.Errorf("key %s does not belong into a bundle of %s", text.Mention(text.Clip(key)), f.Header.Namespace)
		}
		read.keys, read.values = append(read.keys, key), append(read.values, value)
		read.bytes += int64(len(key)) + 64
		raw, last = rest, key
	}
	if n := len(read.keys); int64(n) != b.keys || read.keys[0] != b.first || last != b.last {
		return nil, errors.New("it has other keys than its index says")
	}
	return read, nil
}

// Read implements store.Reader.
func (f *File) Read(ctx context.Context, _ int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	found := make([][]store.KeyValue, len(queries))
	for i, q := range queries {
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		var err error
		if found[i], err = f.query(q); err != nil {
			return nil, 0, err
		}
	}
	return found, 1, nil
}

func (f *File) query(q store.Query) (found []store.KeyValue, err error) {
	from, to, most := q.Key, q.Key+"\x00", 1
	if q.Count || q.First > 0 || q.Last > 0 {
		to, most = endOf(q.Key), max(q.First, q.Last)
	}
	if q.End != "" {
		to = max(q.End, from)
	}
	if q.After != "" {
		from = q.After + "\x00"
	}
	if q.Count {
		count, err := f.count(from, to)
		return []store.KeyValue{{Key: q.Key, Count: count}}, err
	}
	add := func(key string, value []byte) bool {
		kv := store.KeyValue{Key: key, Revision: 1}
		if strings.HasPrefix(key, string(f.Header.Namespace)+eventsAt) {
			kv.Revision = 0 // not known: events are put in order by their times
		}
		if !q.NoValue {
			kv.Value = slices.Clone(value) // not all of its block
		}
		found = append(found, kv)
		return len(found) < most
	}
	if q.Last > 0 {
		return found, f.descend(from, to, add)
	}
	err = f.ascend(from, to, add)
	return found, err
}

// endOf is where keys end that begin with a prefix: no key of a bundle has the byte 255.
func endOf(prefix string) string { return prefix + "\xff" }

// blockOf is the first block that may have a key from one on.
func (f *File) blockOf(key string) int {
	return sort.Search(len(f.blocks), func(i int) bool { return f.blocks[i].last >= key })
}

// ascend calls fn for the keys from one on, up to another, until it gives false.
func (f *File) ascend(from, to string, fn func(key string, value []byte) bool) error {
	for i := f.blockOf(from); i < len(f.blocks) && f.blocks[i].first < to; i++ {
		b, err := f.entries(i)
		if err != nil {
			return err
		}
		for at, _ := slices.BinarySearch(b.keys, from); at < len(b.keys) && b.keys[at] < to; at++ {
			if !fn(b.keys[at], b.values[at]) {
				return nil
			}
		}
	}
	return nil
}

// descend is ascend from the last one down.
func (f *File) descend(from, to string, fn func(key string, value []byte) bool) error {
	for i := min(f.blockOf(to), len(f.blocks)-1); i >= 0 && f.blocks[i].last >= from; i-- {
		b, err := f.entries(i)
		if err != nil {
			return err
		}
		end, _ := slices.BinarySearch(b.keys, to)
		for at := end - 1; at >= 0 && b.keys[at] >= from; at-- {
			if !fn(b.keys[at], b.values[at]) {
				return nil
			}
		}
	}
	return nil
}

// count counts keys. Blocks that are wholly among them are not read: what the index says of each is checked when it is.
func (f *File) count(from, to string) (n int64, err error) {
	for i := f.blockOf(from); i < len(f.blocks) && f.blocks[i].first < to; i++ {
		if f.blocks[i].first >= from && f.blocks[i].last < to {
			n += f.blocks[i].keys
			continue
		}
		b, err := f.entries(i)
		if err != nil {
			return 0, err
		}
		first, _ := slices.BinarySearch(b.keys, from)
		end, _ := slices.BinarySearch(b.keys, to)
		n += int64(end - first)
	}
	return n, nil
}

// get gives the value of a key.
func (f *File) get(key string) (value []byte, ok bool, err error) {
	err = f.ascend(key, key+"\x00", func(_ string, is []byte) bool {
		value, ok = is, true
		return false
	})
	return value, ok, err
}
