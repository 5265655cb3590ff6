package mgmt

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"refship/deploy/tree"
)

// The modes of what is written. The root has dirMode without its permission bits, as mgmt itself writes it.
const (
	fileMode = fs.FileMode(0o644)
	execMode = fs.FileMode(0o755)
	dirMode  = fs.ModeDir | 0o755
	rootMode = fs.ModeDir
)

// File is a file or a directory of a superblock.
type File struct {
	Name     string // one path element, without any slash; "" for the root
	Mode     fs.FileMode
	SHA256   tree.SHA256 // of the content; zero for a directory
	Size     int64       // bytes of the content; not stored: 0 after DecodeSuperblock
	Children []*File     // of a directory
}

const (
	uriScheme        = "etcdfs://"
	superblockPrefix = "/fs/deploy/"
	dataPrefix       = "/storage"
	hashName         = "sha256"

	maxSuperblock = 2 << 20 // bytes that are decoded: more than mgmt's etcd client could send
	maxDepth      = 2048    // directories in each other: more than Linux has in a path of 4,095 bytes
)

// SuperblockPath is where the superblock of a deploy stands, as values have it: without the namespace.
func SuperblockPath(id uint64, uuid string) string {
	return superblockPrefix + strconv.FormatUint(id, 10) + "-" + uuid
}

// InputURI is what the payload says of the superblock at path.
func InputURI(path string) string { return uriScheme + path }

// wireSuperblock is mgmt's superBlock.
type wireSuperblock struct {
	DataPrefix string
	Hash       string
	Tree       *wireFile
}

// wireFile is mgmt's File.
type wireFile struct {
	Path     string
	Mode     fs.FileMode
	ModTime  time.Time // zero: mgmt does not need it, and the same tree has the same superblock
	Children []*wireFile
	Hash     string
}

// EncodeSuperblock gives the superblock's value. Children are written sorted by name, bytewise.
func EncodeSuperblock(root *File) ([]byte, error) {
	if root == nil {
		return nil, errors.New("encode superblock: no root")
	}
	top, err := toWire(root, 0)
	if err != nil {
		return nil, fmt.Errorf("encode superblock: %w", err)
	}
	if err := checkRoot(top); err != nil {
		return nil, fmt.Errorf("encode superblock: %w", err)
	}
	var b bytes.Buffer
	w := wireSuperblock{DataPrefix: dataPrefix, Hash: hashName, Tree: top}
	if err := gob.NewEncoder(&b).Encode(&w); err != nil {
		return nil, fmt.Errorf("encode superblock: %w", err)
	}
	return b.Bytes(), nil
}

func checkRoot(root *wireFile) error {
	if root == nil || root.Path != "" || !root.Mode.IsDir() {
		return errors.New("the root is not a directory without a name")
	}
	return nil
}

func toWire(f *File, depth int) (*wireFile, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%q: more than %d directories in each other", f.Name, maxDepth)
	}
	w := &wireFile{Path: f.Name, Mode: f.Mode}
	if !f.Mode.IsDir() {
		w.Hash = f.SHA256.String()
	} else if f.SHA256 != (tree.SHA256{}) {
		return nil, fmt.Errorf("%q: a directory with a sha256", f.Name)
	}
	if !f.Mode.IsDir() && len(f.Children) > 0 {
		return nil, fmt.Errorf("%q: a file with children", f.Name)
	}
	for _, child := range f.Children {
		if err := tree.CheckName(child.Name); err != nil {
			return nil, fmt.Errorf("%q: %w", child.Name, err)
		}
		below, err := toWire(child, depth+1)
		if err != nil {
			return nil, err
		}
		w.Children = append(w.Children, below)
	}
	slices.SortFunc(w.Children, func(a, b *wireFile) int { return strings.Compare(a.Path, b.Path) })
	return w, checkTwice(w.Children)
}

// checkTwice refuses a name that children, sorted by name, have twice: mgmt would find only one of them.
func checkTwice(sorted []*wireFile) error {
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Path == sorted[i-1].Path {
			return fmt.Errorf("%q: twice in one directory", sorted[i].Path)
		}
	}
	return nil
}

// DecodeSuperblock reads the value of a superblock, made by this package or by mgmt, in the order in which it stands
// there. It takes at most 2 MiB, 2,048 directories in each other, and only what mgmt's reader finds its way in. Names
// are one path element, but may be ".git", and modes any that mgmt writes: a caller that makes files of them has to
// look.
func DecodeSuperblock(value []byte) (*File, error) {
	f, err := decodeSuperblock(value)
	if err != nil {
		return nil, fmt.Errorf("decode superblock: %w", err)
	}
	return f, nil
}

func decodeSuperblock(value []byte) (*File, error) {
	if len(value) > maxSuperblock {
		return nil, fmt.Errorf("it has %d bytes (limit %d)", len(value), maxSuperblock)
	}
	if err := checkNesting(value); err != nil {
		return nil, err
	}
	var w wireSuperblock
	if err := decodeGob(value, &w); err != nil {
		return nil, err
	}
	if w.DataPrefix != dataPrefix || w.Hash != hashName {
		return nil, fmt.Errorf("contents are at %q by %q, not at %q by %q", w.DataPrefix, w.Hash, dataPrefix, hashName)
	}
	if err := checkRoot(w.Tree); err != nil {
		return nil, err
	}
	return fromWire(w.Tree)
}

// fromWire goes as deep as checkNesting let it be.
func fromWire(w *wireFile) (*File, error) {
	f := &File{Name: w.Path, Mode: w.Mode}
	if !w.Mode.IsDir() {
		sum, err := tree.ParseSHA256(w.Hash)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", w.Path, err)
		}
		if len(w.Children) > 0 {
			return nil, fmt.Errorf("%q: a file with children", w.Path)
		}
		f.SHA256 = sum
		return f, nil
	}
	if w.Hash != "" {
		return nil, fmt.Errorf("%q: a directory with a hash", w.Path)
	}
	for _, child := range w.Children {
		if err := tree.CheckName(child.Path); err != nil && !strings.EqualFold(child.Path, ".git") {
			return nil, fmt.Errorf("%q: %w", child.Path, err)
		}
		below, err := fromWire(child)
		if err != nil {
			return nil, err
		}
		f.Children = append(f.Children, below)
	}
	sorted := slices.Clone(w.Children)
	slices.SortFunc(sorted, func(a, b *wireFile) int { return strings.Compare(a.Path, b.Path) })
	return f, checkTwice(sorted)
}
