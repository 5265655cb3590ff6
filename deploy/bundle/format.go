package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// Header is what a bundle's first frame says of the chain.
type Header struct {
	Format    int              `json:"format"` // 1
	Namespace record.Namespace `json:"namespace"`
	Head      record.ID        `json:"head"`  // the newest deploy; not 0
	Hash      record.Hash      `json:"hash"`  // its deploy hash; "" of a foreign one without
	Since     record.ID        `json:"since"` // the first deploy whose files are there, if gc had not taken them
	Time      time.Time        `json:"time"`  // when the chain was as it is here
}

const (
	firstLine = "refship bundle 1\n"

	headerMagic = 0x184D2A50 // of zstd's skippable frames
	indexMagic  = 0x184D2A51
	frameHead   = 8 // bytes before what a skippable frame holds

	maxHeader = 64 << 10 // bytes
	maxIndex  = 64 << 20
	maxRaw    = 2 << 20  // bytes of a block, uncompressed
	maxFrame  = 3 << 20  // bytes of a block in the file: what does not compress grows a little
	blockSize = 64 << 10 // at which a block is ended: one file of a deploy is read out of one

	endLength = len("end ") + 20 + 1 + 2*sha256.Size + 1
)

// encode gives the header's lines.
func (h *Header) encode() ([]byte, error) {
	encoded, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode a bundle's header: %w", err)
	}
	return slicesOf(firstLine, string(encoded), "\n"), nil
}

func slicesOf(parts ...string) []byte { return []byte(strings.Join(parts, "")) }

// parseHeader reads the header's lines.
func parseHeader(lines []byte) (*Header, error) {
	rest, ok := bytes.CutPrefix(lines, []byte(firstLine))
	if !ok {
		return nil, errors.New("it begins in another way than a bundle of format 1")
	}
	h := new(Header)
	if err := json.Unmarshal(rest, h); err != nil {
		return nil, fmt.Errorf("its header: %w", err)
	}
	if h.Format != 1 {
		return nil, fmt.Errorf("its format is %d, and this refship reads 1", h.Format)
	}
	if _, err := record.ParseNamespace(string(h.Namespace)); err != nil {
		return nil, fmt.Errorf("its header: %w", err)
	}
	if h.Head == 0 || h.Head > record.MaxID || h.Since == 0 || h.Since > h.Head {
		return nil, errors.New("its header names no deploys")
	}
	return h, nil
}

// skippable is the beginning of a skippable frame that holds so many bytes.
func skippable(magic uint32, length int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, magic), uint32(length))
}

// block is a line of the index.
type block struct {
	offset      int64
	size        int64 // of the frame
	raw         int64 // bytes uncompressed
	keys        int64
	sum         tree.SHA256 // of the frame
	first, last string
}

func (b *block) line() string {
	return fmt.Sprintf("%d %d %d %d %s %s %s\n", b.offset, b.size, b.raw, b.keys, b.sum, b.first, b.last)
}

// parseLine reads a line of the index, without its line feed.
func parseLine(line string) (b block, err error) {
	fields := strings.Split(line, " ")
	if len(fields) != 7 {
		return b, errors.New("a line of the index has not 7 fields")
	}
	for i, to := range []*int64{&b.offset, &b.size, &b.raw, &b.keys} {
		if *to, err = parseNumber(fields[i]); err != nil {
			return b, err
		}
	}
	if b.sum, err = tree.ParseSHA256(fields[4]); err != nil {
		return b, err
	}
	b.first, b.last = strings.Clone(fields[5]), strings.Clone(fields[6]) // not all of the index
	return b, nil
}

// parseNumber reads a decimal number as it is written.
func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, errors.New("a number of the index is none")
	}
	return n, nil
}

// endLine is the last line of the index.
func endLine(offset int64, sum hash.Hash) string {
	return fmt.Sprintf("end %020d %x\n", offset, sum.Sum(nil))
}

// parseEnd reads the last line of the index: where the index's frame is.
func parseEnd(line string) (offset int64, sum string, err error) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(line) != endLength || len(fields) != 3 || fields[0] != "end" || len(fields[1]) != 20 {
		return 0, "", errors.New("its end is missing: it was cut off, or is no bundle")
	}
	offset, err = strconv.ParseInt(fields[1], 10, 64)
	if err != nil || offset < 0 {
		return 0, "", errors.New("its end names no index")
	}
	return offset, fields[2], nil
}

// appendEntry appends an entry of a block.
func appendEntry(to []byte, key string, value []byte) []byte {
	to = append(to, '+')
	to = strconv.AppendInt(to, int64(len(key)), 10)
	to = append(to, ',')
	to = strconv.AppendInt(to, int64(len(value)), 10)
	to = append(to, ':')
	to = append(to, key...)
	to = append(to, "->"...)
	to = append(to, value...)
	return append(to, '\n')
}

// cutEntry reads the first entry of a block, and gives what follows it.
func cutEntry(raw []byte) (key string, value, rest []byte, err error) {
	bad := errors.New("an entry of a block is none")
	head, _, ok := bytes.Cut(raw[:min(len(raw), 40)], []byte(":"))
	keyLength, valueLength, isPair := strings.Cut(strings.TrimPrefix(string(head), "+"), ",")
	k, keyErr := parseNumber(keyLength)
	v, valueErr := parseNumber(valueLength)
	if !ok || !isPair || !bytes.HasPrefix(head, []byte("+")) || keyErr != nil || valueErr != nil || k > maxRaw || v > maxRaw {
		return "", nil, nil, bad
	}
	rest = raw[len(head)+1:]
	if int64(len(rest)) < k+v+3 || string(rest[k:k+2]) != "->" || rest[k+2+v] != '\n' {
		return "", nil, nil, bad
	}
	return string(rest[:k]), rest[k+2 : k+2+v], rest[k+3+v:], nil
}
