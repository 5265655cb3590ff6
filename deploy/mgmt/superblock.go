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
	Size     int64       // bytes of the content; not stored
	Children []*File     // of a directory
}

// Files counts the files below a directory.
func (f *File) Files() int {
	n := 0
	for _, child := range f.Children {
		if child.Mode.IsDir() {
			n += child.Files()
		} else {
			n++
		}
	}
	return n
}

const (
	uriScheme  = "etcdfs://"
	dataPrefix = "/storage"
	hashName   = "sha256"

	maxDepth = 2048 // directories in each other: more than Linux has in a path of 4,095 bytes
)

// SuperblockPrefix is what the paths of all deploys' superblocks begin with.
const SuperblockPrefix = "/fs/deploy/"

// SuperblockPath is where the superblock of a deploy stands, as values have it: without the namespace.
func SuperblockPath(id uint64, uuid string) string {
	return SuperblockPrefix + strconv.FormatUint(id, 10) + "-" + uuid
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
