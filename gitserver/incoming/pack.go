package incoming

import (
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"refship/deploy/git"
)

// Pack is what a pack's objects say of themselves.
type Pack struct {
	Bytes   int64
	Objects int64
	Largest int64 // the most that git puts together in memory for one object, in bytes
}

// perObject is what git keeps for each object of a pack, in bytes: its entry in index-pack's list and the delta that
// it is (some 130), and the object itself for fsck, with its place in the table of all (some 170).
const perObject = 300

// Memory is what git needs for the pack beside what it takes for itself, in bytes.
func (p Pack) Memory() int64 {
	if p.Largest > math.MaxInt64-p.Objects*perObject {
		return math.MaxInt64
	}
	return p.Objects*perObject + p.Largest
}

var (
	// ErrTooLarge is given for a pack of more bytes than are taken.
	ErrTooLarge = errors.New("pack is too large")
	// ErrEnded is given where the input ends before the pack does.
	ErrEnded = errors.New("pack ends early")
)

// errNoPack is for what git will not understand.
var errNoPack = errors.New("not a pack")

// Types of objects in a pack.
const (
	typeBlob        = 3
	typeOffsetDelta = 6
	typeRefDelta    = 7
)

const packHeader = 12

// ReadPack copies a pack of at most limit bytes from r to w, and reads off what git will need. A pack does not say by
// which hash it names objects: it is that of the repository, of which this is the format. ReadPack may read what is
// behind the pack, and does not wait for it. A pack that git will not understand is no error: it is copied up to there.
// Errors are ErrTooLarge, ErrEnded, and those of r and w.
func ReadPack(r io.Reader, f git.Format, w io.Writer, limit int64) (Pack, error) {
	p := &packReader{hashSize: f.Size(), in: &copied{r: r, w: w, limit: limit, buf: make([]byte, 64<<10)}}
	err := p.read()
	if p.in.failed == nil && (err == nil || errors.Is(err, errNoPack)) {
		err = p.in.copy()
	}
	if p.in.failed != nil { // whatever became of it above
		err = p.in.failed
	}
	p.pack.Bytes = p.in.copied
	return p.pack, err
}

type packReader struct {
	in       *copied
	hashSize int           // of a delta's base and of the pack's checksum, in bytes
	inflate  io.ReadCloser // nil before the first object
	pack     Pack
}

func (p *packReader) read() error {
	var header [packHeader]byte
	if _, err := io.ReadFull(p.in, header[:]); err != nil {
		return err
	}
	if version := binary.BigEndian.Uint32(header[4:]); string(header[:4]) != "PACK" || version != 2 && version != 3 {
		return errNoPack
	}
	for range binary.BigEndian.Uint32(header[8:]) {
		if err := p.object(); err != nil {
			return err
		}
		p.pack.Objects++
	}
	_, err := io.ReadFull(p.in, make([]byte, p.hashSize)) // the checksum
	return err
}

// object reads one object and notes what git needs for it.
func (p *packReader) object() error {
	kind, size, err := p.typeAndSize()
	if err != nil {
		return err
	}
	delta := kind == typeOffsetDelta || kind == typeRefDelta
	switch kind {
	case typeOffsetDelta:
		_, err = readVarint(p.in) // only its end matters here
	case typeRefDelta:
		_, err = io.ReadFull(p.in, make([]byte, p.hashSize))
	}
	if err != nil {
		return err
	}
	if err := p.openStream(); err != nil {
		return p.streamError(err)
	}
	stream := &counted{r: p.inflate}
	need := size
	switch {
	case delta:
		from, err := readVarint(stream)
		if err != nil {
			return p.streamError(err)
		}
		to, err := readVarint(stream)
		if err != nil {
			return p.streamError(err)
		}
		need = sum(sum(from, to), size)
	case kind == typeBlob && size > git.FileInPieces:
		need = 0
	}
	p.pack.Largest = max(p.pack.Largest, need)
	if _, err := io.Copy(io.Discard, io.LimitReader(stream, size+1-stream.n)); err != nil {
		return p.streamError(err)
	}
	if stream.n != size {
		return errNoPack
	}
	return nil
}

func (p *packReader) openStream() (err error) {
	if p.inflate == nil {
		p.inflate, err = zlib.NewReader(p.in)
		return err
	}
	return p.inflate.(zlib.Resetter).Reset(p.in, nil)
}

// streamError tells a stream that is none from an input that failed.
func (p *packReader) streamError(err error) error {
	if p.in.failed != nil {
		return p.in.failed
	}
	return errors.Join(errNoPack, err)
}

// typeAndSize reads what an object begins with: three bits and a number whose lowest four bits are in the first byte.
func (p *packReader) typeAndSize() (kind byte, size int64, err error) {
	c, err := p.in.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	kind, size = c>>4&7, int64(c&15)
	if c < 0x80 {
		return kind, size, nil
	}
	rest, err := readVarint(p.in)
	if err != nil || rest > math.MaxInt64>>4 {
		return 0, 0, errors.Join(err, errNoPack)
	}
	return kind, rest<<4 | size, nil
}

// readVarint reads a number in pieces of seven bits, the lowest first.
func readVarint(r io.ByteReader) (n int64, err error) {
	for shift := 0; ; shift += 7 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if shift >= 63 {
			return 0, errNoPack
		}
		n |= int64(c&0x7f) << shift
		if c < 0x80 {
			return n, nil
		}
	}
}

// sum adds without overflow.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *counted) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(c, b[:])
	return b[0], err
}

// copied is a reader of which a copy is kept. It gives single bytes, so that zlib reads nothing behind its stream.
type copied struct {
	r      io.Reader
	w      io.Writer
	limit  int64
	copied int64
	buf    []byte
	from   int // buf[from:at] was given and is not copied
	at     int // buf[at:end] is to be given
	end    int
	failed error // the first failure
}

func (c *copied) Read(b []byte) (int, error) {
	if c.at == c.end && !c.fill() {
		return 0, c.failed
	}
	n := copy(b, c.buf[c.at:c.end])
	c.at += n
	return n, nil
}

func (c *copied) ReadByte() (byte, error) {
	if c.at == c.end && !c.fill() {
		return 0, c.failed
	}
	b := c.buf[c.at]
	c.at++
	return b, nil
}

// fill reads more when all was given.
func (c *copied) fill() bool {
	if c.failed != nil || c.copy() != nil {
		return false
	}
	n, err := 0, error(nil)
	for tries := 0; n == 0 && err == nil; tries++ {
		if n, err = c.r.Read(c.buf); tries > 100 {
			err = io.ErrNoProgress
		}
	}
	c.from, c.at, c.end = 0, 0, n
	switch {
	case n > 0: // an error comes again
	case errors.Is(err, io.EOF):
		c.failed = ErrEnded
	default:
		c.failed = err
	}
	return n > 0
}

// copy copies what was given.
func (c *copied) copy() error {
	given := c.buf[c.from:c.at]
	c.from = c.at
	if c.copied += int64(len(given)); c.copied > c.limit {
		c.failed = ErrTooLarge
	} else if _, err := c.w.Write(given); err != nil {
		c.failed = err
	}
	return c.failed
}
