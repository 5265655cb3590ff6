package files

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"refship/deploy/tree"
)

// Entry is what a directory should have at a path.
type Entry struct {
	Path   string      // below the directory: raw bytes, elements joined with "/"
	Mode   uint32      // unix.S_IFMT and 07777
	Size   int64       // bytes of the file, or of the link's target; else 0
	SHA256 tree.SHA256 // of the same; else, and of a file that nobody may read, zero
	OID    tree.OID    // of the deploy's blob; zero: the file, link or directory was made on the node
	Seen   Seen        // of a file that was seen to be right; zero: it has to be read
}

// Seen is how the file system described a file.
type Seen struct {
	Inode        uint64
	Mtime, Ctime int64 // ns since 1970
}

func (e *Entry) kind() uint32 { return e.Mode & unix.S_IFMT }

// IsDir tells a directory.
func (e *Entry) IsDir() bool { return e.kind() == unix.S_IFDIR }

// hasContent tells what has a size and a sha256.
func (e *Entry) hasContent() bool { return e.kind() == unix.S_IFREG || e.kind() == unix.S_IFLNK }

// IsMade tells a file or link that no deploy has: only the node can make it again.
func (e *Entry) IsMade() bool { return !e.IsDir() && e.OID.IsZero() }

// List is what a directory should have, each directory before what is in it.
type List []Entry

// header begins the text of a list; its number is the format's.
const header = "refship list 1\n"

// maxLine is more than any entry takes, in bytes.
const maxLine = 64 << 10

// Write writes a list as a text.
func (l List) Write(w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	_, _ = buffered.WriteString(header) // Flush has the error of each write
	for i := range l {
		e := &l[i]
		fmt.Fprintf(buffered, "%o %d %s %s %d %d %d\t%s\x00", e.Mode, e.Size, e.SHA256, e.OID,
			e.Seen.Inode, e.Seen.Mtime, e.Seen.Ctime, e.Path)
	}
	_, _ = fmt.Fprintf(buffered, "%d\n", len(l))
	return buffered.Flush()
}

// errList: a text is no list.
var errList = errors.New("it is no list of files")

// Read reads such a text.
func Read(r io.Reader) (List, error) {
	buffered := bufio.NewReaderSize(r, maxLine)
	if first, err := buffered.ReadSlice('\n'); err != nil || string(first) != header {
		return nil, errList
	}
	var l List
	for {
		line, err := buffered.ReadSlice(0)
		if errors.Is(err, io.EOF) {
			if string(line) != fmt.Sprintf("%d\n", len(l)) {
				return nil, fmt.Errorf("%w: it is cut off after %d entries", errList, len(l))
			}
			return l, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errList, err)
		}
		e, err := parse(line[:len(line)-1])
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errList, len(l)+1, err)
		}
		l = append(l, e)
	}
}

// parse reads an entry.
func parse(line []byte) (e Entry, err error) {
	facts, at, found := bytes.Cut(line, []byte{'\t'})
	if !found || checkPath(string(at)) != nil {
		return e, errors.New("it has no path")
	}
	e.Path = string(at)
	words := strings.Split(string(facts), " ")
	if len(words) != 7 {
		return e, fmt.Errorf("it has %d words", len(words))
	}
	mode, err1 := strconv.ParseUint(words[0], 8, 32)
	size, err2 := strconv.ParseInt(words[1], 10, 64)
	sum, err3 := tree.ParseSHA256(words[2])
	oid, err4 := tree.ParseOID(words[3])
	inode, err5 := strconv.ParseUint(words[4], 10, 64)
	mtime, err6 := strconv.ParseInt(words[5], 10, 64)
	ctime, err7 := strconv.ParseInt(words[6], 10, 64)
	e.Mode, e.Size, e.SHA256, e.OID, e.Seen = uint32(mode), size, sum, oid, Seen{inode, mtime, ctime}
	return e, errors.Join(err1, err2, err3, err4, err5, err6, err7)
}

// checkPath holds a path to what leads to a place below a directory.
func checkPath(at string) error {
	for element := range strings.SplitSeq(at, "/") {
		if element == "" || element == "." || element == ".." {
			return fmt.Errorf("%q is no path below a directory", at)
		}
	}
	return nil
}

// paths are those of a list, and where in it they are.
func (l List) paths() map[string]int {
	all := make(map[string]int, len(l))
	for i := range l {
		all[l[i].Path] = i
	}
	return all
}

// Has gives what tells whether a list has a path.
func (l List) Has() func(at string) bool {
	is := l.paths()
	return func(at string) bool {
		_, found := is[at]
		return found
	}
}

// After takes over what an earlier list has seen of files that are still to be the same, and gives what of it is not to
// be there any more.
func (l List) After(earlier List) (gone List) {
	is := l.paths()
	for i := range earlier {
		was := &earlier[i]
		at, found := is[was.Path]
		if !found {
			gone = append(gone, *was)
			continue
		}
		if e := &l[at]; e.kind() == was.kind() && e.Size == was.Size && e.SHA256 == was.SHA256 {
			e.Seen = was.Seen
		}
	}
	return gone
}

// And gives a list with what another has at paths that the first has not.
func (l List) And(other List) List {
	is := l.paths()
	both := l[:len(l):len(l)]
	for _, e := range other {
		if _, found := is[e.Path]; !found {
			both = append(both, e)
		}
	}
	return both
}

// parentOf is the path of the directory that something is in; "" is the root.
func parentOf(at string) string {
	if dir := path.Dir(at); dir != "." {
		return dir
	}
	return ""
}
