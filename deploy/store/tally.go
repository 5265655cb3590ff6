package store

import (
	"context"
	"fmt"
	"math"
	"path"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// How large a tree may be, to be deployed, listed or written. A path is also at most record.MaxPath bytes long.
const (
	MaxPaths     = 1_000_000 // files, links, submodules and directories, wherever they occur
	maxDepth     = 200       // elements of one path
	maxName      = 255       // bytes of one of them: what a Linux file system holds
	maxPathBytes = 256 << 20 // of all paths together
)

// Reasons why a tree is too large. What to do about it depends on what was to be done with it.
const (
	ReasonTreeLarge fault.Reason = "tree-large" // too many files and directories, or too many bytes of names
	ReasonPathLong  fault.Reason = "path-long"  // a name or a path is too long, or too deep
)

func tooLarge(format string, args ...any) error {
	return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf(format, args...), Reason: ReasonTreeLarge}
}

func tooDeep(where string) error {
	what := fmt.Sprintf("directory %q is %d directories deep; a path has at most %d elements",
		text.Clip(where), maxDepth, maxDepth)
	return &fault.Error{Kind: fault.Refused, What: what, Reason: ReasonPathLong}
}

// CheckCount refuses a tree of too many files and directories.
func CheckCount(paths int) error {
	if paths <= MaxPaths {
		return nil
	}
	return tooLarge("the tree has at least %d files and directories (limit %d)", paths, MaxPaths)
}

// CheckPath refuses a path that is too long or too deep, or whose last element is too long. It is put together only
// for the message.
func CheckPath(name string, length, depth int, whole func() string) error {
	what := ""
	switch {
	case len(name) > maxName:
		what = fmt.Sprintf("%q: name is %d bytes (limit %d)", text.Clip(name), len(name), maxName)
	case length > record.MaxPath:
		what = fmt.Sprintf("path %q is %d bytes (limit %d)", text.Clip(whole()), length, record.MaxPath)
	case depth > maxDepth:
		what = fmt.Sprintf("path %q has %d elements (limit %d)", text.Clip(whole()), depth, maxDepth)
	default:
		return nil
	}
	return &fault.Error{Kind: fault.Refused, What: what, Reason: ReasonPathLong}
}

// Tally is what differs between two trees, in numbers. What lies in a directory that occurs a thousand times counts a
// thousand times.
type Tally struct {
	Added, Modified, Deleted int   // files and links
	Submodules               int   // added or modified
	Paths                    int   // added or modified: files, links, submodules and directories
	Bytes                    int64 // that the added and modified ones of them take on a disk
}

// DiskBlock is what the smallest file or directory takes on a disk, in bytes.
const DiskBlock = 4 << 10

// most is where counting stops: the sum of two such numbers is none yet that is too large to be held.
const most = math.MaxInt / 2

func add(a, b int) int { return min(a+b, most) }

func multiply(a, b int) int {
	if a > 0 && b > most/a {
		return most
	}
	return a * b
}

// tallied is a directory, or a pair of them, of one level.
type tallied struct {
	pair
	times  int      // how often it occurs
	bytes  int      // of the paths of all its occurrences
	length int      // of the longest of these paths, which is name below up's longest path
	up     *tallied // nil: it is the root
	name   string
}

// path is the longest path.
func (t *tallied) path() string {
	if t.up == nil {
		return ""
	}
	return path.Join(t.up.path(), t.name)
}

// tally counts a level after the other. A pair of directories is looked at once a level, wherever it occurs.
type tally struct {
	Tally
	nodes     *Nodes
	depth     int // of the entries of the level's directories
	pathBytes int
	next      []*tallied
	index     map[[2]tree.OID]*tallied // of next
}

// Tally counts what differs between two trees (a zero oid is the empty one). Afterwards their directories are known as
// far as they differ, so that Diff needs no etcd. It refuses (fault.Refused, with a Reason) as soon as the new tree has
// too many files and directories, a path that is too long or too deep, or too many bytes of paths.
func (n *Nodes) Tally(ctx context.Context, old, new tree.Entry) (Tally, error) {
	t := &tally{nodes: n}
	if old.OID == new.OID {
		return t.Tally, nil
	}
	level := []*tallied{{pair: pairOf(&old, &new), times: 1}}
	for t.depth = 1; len(level) > 0; t.depth++ {
		var dirs []*tree.Entry
		for _, p := range level {
			dirs = p.dirs(dirs)
		}
		if err := n.Load(ctx, dirs); err != nil {
			return t.Tally, err
		}
		t.next, t.index = nil, map[[2]tree.OID]*tallied{}
		for _, p := range level {
			if err := t.dir(p); err != nil {
				return t.Tally, err
			}
		}
		level = t.next
	}
	return t.Tally, nil
}

// dir counts what differs in a directory.
func (t *tally) dir(p *tallied) error {
	differing, err := t.nodes.differing(p.pair)
	if err != nil {
		return err
	}
	for at := range differing {
		if at.new == nil && t.depth > maxDepth {
			return record.Corrupt(t.nodes.chain.TreeKey(p.old.OID), fmt.Sprintf("it is %d directories deep", t.depth))
		}
		if at.new != nil {
			if err := t.added(p, at.new); err != nil {
				return err
			}
		}
		if at.entry().Mode == dirMode {
			err = t.below(p, at)
		} else {
			t.file(p, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// added counts an entry of the new tree that the old one has not.
func (t *tally) added(p *tallied, e *tree.Entry) error {
	whole := func() string { return path.Join(p.path(), e.Name) }
	if err := CheckPath(e.Name, p.below(e.Name), t.depth, whole); err != nil {
		return err
	}
	t.Paths = add(t.Paths, p.times)
	if err := CheckCount(t.Paths); err != nil {
		return err
	}
	if t.pathBytes = add(t.pathBytes, p.bytesBelow(e.Name)); t.pathBytes > maxPathBytes {
		return tooLarge("the paths of the tree have more than %s together", text.Size(maxPathBytes))
	}
	size := DiskBlock
	if e.Mode != dirMode {
		size = int(min(max((e.Size-1)/DiskBlock+1, 1), most/DiskBlock)) * DiskBlock
	}
	t.Bytes = int64(add(int(t.Bytes), multiply(p.times, size)))
	return nil
}

// below is the length of the longest path of an entry.
func (t *tallied) below(name string) int {
	if t.up == nil {
		return len(name)
	}
	return t.length + 1 + len(name)
}

// bytesBelow are the bytes of all paths of an entry.
func (t *tallied) bytesBelow(name string) int {
	return add(t.bytes, multiply(t.times, len(name)+min(t.length, 1)))
}

// file counts a file, link or submodule.
func (t *tally) file(p *tallied, at pair) {
	file := func(e *tree.Entry) bool { return e != nil && e.Mode != filemode.Submodule }
	switch was, is := file(at.old), file(at.new); {
	case was && is:
		t.Modified = add(t.Modified, p.times)
	case was:
		t.Deleted = add(t.Deleted, p.times)
	case is:
		t.Added = add(t.Added, p.times)
	}
	if at.new != nil && at.new.Mode == filemode.Submodule {
		t.Submodules = add(t.Submodules, p.times)
	}
}

// below puts a directory into the next level, or counts it there once more.
func (t *tally) below(p *tallied, at pair) error {
	var key [2]tree.OID
	if at.old != nil {
		key[0] = at.old.OID
	}
	if at.new != nil {
		key[1] = at.new.OID
	}
	name := at.entry().Name
	length := p.below(name)
	d := t.index[key]
	if d == nil {
		d = &tallied{pair: at, up: p, name: name, length: length}
		t.next, t.index[key] = append(t.next, d), d
	}
	for _, e := range [][2]*tree.Entry{{d.old, at.old}, {d.new, at.new}} {
		if e[0] != nil && !sameText(e[0], e[1]) && !t.nodes.isOpen(e[0].OID) {
			what := fmt.Sprintf("it is named with two sha256s, %s and %s", e[0].SHA256, e[1].SHA256)
			return record.Corrupt(t.nodes.chain.TreeKey(e[0].OID), what)
		}
	}
	if length > d.length {
		d.up, d.name, d.length = p, name, length
	}
	d.times, d.bytes = add(d.times, p.times), add(d.bytes, p.bytesBelow(name))
	return nil
}
