package mgmt_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
	"refship/deploy/text"
	"refship/deploy/tree"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// maxValue is what fits one put into a stock etcd.
const maxValue = 1536*1024 - 4096

// leaf is what is not a directory.
type leaf struct {
	mode    filemode.FileMode
	content string
	size    int64 // if it is not the content's: what is only said to be there, and not read
}

func file(content string) leaf { return leaf{mode: filemode.Regular, content: content} }
func exe(content string) leaf  { return leaf{mode: filemode.Executable, content: content} }
func link(target string) leaf  { return leaf{mode: filemode.Symlink, content: target} }
func said(size int64) leaf {
	return leaf{mode: filemode.Regular, content: fmt.Sprint(size), size: size}
}
func submodule() leaf            { return leaf{mode: filemode.Submodule} }
func emptyDirectory() leaf       { return leaf{mode: filemode.Dir} }
func sum(s string) tree.SHA256   { return sha256.Sum256([]byte(s)) }
func hexSum(s string) string     { return sum(s).String() }
func storageKey(s string) string { return "/storage/{sha256}" + hexSum(s) }

// forest has the nodes and contents of git trees.
type forest struct {
	nodes    map[tree.OID]*tree.Node
	contents map[tree.OID]string
}

func newForest() *forest {
	return &forest{nodes: map[tree.OID]*tree.Node{}, contents: map[tree.OID]string{}}
}

// plant adds the tree that has leaves at paths, and gives it as an entry.
func (f *forest) plant(leaves map[string]leaf) tree.Entry {
	below := map[string]map[string]leaf{}
	n := &tree.Node{}
	for path, l := range leaves {
		name, rest, deeper := strings.Cut(path, "/")
		if !deeper && l.mode == filemode.Dir {
			below[name] = map[string]leaf{}
			continue
		}
		if !deeper {
			n.Entries = append(n.Entries, f.leaf(name, l))
			continue
		}
		if below[name] == nil {
			below[name] = map[string]leaf{}
		}
		below[name][rest] = l
	}
	for name, leaves := range below {
		e := f.plant(leaves)
		e.Name = name
		n.Entries = append(n.Entries, e)
	}
	return f.add(n)
}

func (f *forest) leaf(name string, l leaf) tree.Entry {
	if l.mode == filemode.Submodule {
		return tree.Entry{Mode: l.mode, Name: name, OID: fixture.OID(strings.Repeat("5d", 20))}
	}
	e := tree.Entry{
		Mode: l.mode, Name: name, OID: fixture.BlobOID(l.content), Size: int64(len(l.content)), SHA256: sum(l.content),
	}
	f.contents[e.OID] = l.content
	if l.size > 0 {
		e.Size = l.size
	}
	return e
}

// add adds a node whose entries are in any order.
func (f *forest) add(n *tree.Node) tree.Entry {
	slices.SortFunc(n.Entries, func(a, b tree.Entry) int { return strings.Compare(gitKey(a), gitKey(b)) })
	if err := n.Check(); err != nil {
		panic(err)
	}
	oid, text := n.OID(tree.FormatSHA1), n.Text()
	f.nodes[oid] = n
	return tree.Entry{Mode: filemode.Dir, OID: oid, Size: int64(len(text)), SHA256: sha256.Sum256(text)}
}

func gitKey(e tree.Entry) string {
	if e.Mode == filemode.Dir {
		return e.Name + "/"
	}
	return e.Name
}

// source reads the forest, from the root on. A large file is not small, and so not read.
func (f *forest) source(root tree.OID) mgmt.Source {
	return mgmt.Source{
		Root: root,
		Node: func(oid tree.OID) (*tree.Node, error) {
			if n := f.nodes[oid]; n != nil {
				return n, nil
			}
			return nil, fmt.Errorf("no directory %s", oid)
		},
		Content: func(e tree.Entry, path string) ([]byte, error) {
			if e.Size > 1<<16 {
				return nil, fmt.Errorf("asked for %q of %d bytes", path, e.Size)
			}
			return []byte(f.contents[e.OID]), nil
		},
	}
}

// lay lays out the tree with leaves at paths.
func lay(leaves map[string]leaf, o mgmt.Options) (*mgmt.Layout, error) {
	f := newForest()
	if o.MaxValue == 0 {
		o.MaxValue = maxValue
	}
	return mgmt.Lay(context.Background(), f.source(f.plant(leaves).OID), o)
}

// commit makes a real repository of leaves, and reads it into a forest.
func commit(t *testing.T, leaves map[string]leaf) (*forest, git.OID) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, leaves)
	work := fixture.NewRepository(t).With("GIT_WORK_TREE=" + dir)
	work.Git("-c", "core.bare=false", "add", "-A")
	r, err := git.OpenRepository(context.Background(), work.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, root := newForest(), work.OID("write-tree")
	f.read(t, r, root)
	return f, root
}

// write makes leaves below a directory.
func write(t testing.TB, dir string, leaves map[string]leaf) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(leaves)) {
		l, at := leaves[path], filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch l.mode {
		case filemode.Regular:
			err = errors.Join(err, os.WriteFile(at, []byte(l.content), 0o644))
		case filemode.Executable:
			err = errors.Join(err, os.WriteFile(at, []byte(l.content), 0o755))
		case filemode.Symlink:
			err = errors.Join(err, os.Symlink(l.content, at))
		default:
			err = errors.Join(err, os.MkdirAll(at, 0o755))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// read takes a tree out of a repository.
func (f *forest) read(t *testing.T, r *git.Repository, oid tree.OID) tree.Entry {
	t.Helper()
	entries, err := r.Tree(oid)
	if err != nil {
		t.Fatal(err)
	}
	n := &tree.Node{}
	for _, e := range entries {
		if e.Mode == filemode.Dir {
			below := f.read(t, r, e.OID)
			below.Name = e.Name
			n.Entries = append(n.Entries, below)
			continue
		}
		err := r.Blobs(context.Background(), []tree.OID{e.OID}, func(_ int, _ int64, content io.Reader) error {
			text, err := io.ReadAll(content)
			n.Entries = append(n.Entries, f.leaf(e.Name, leaf{mode: e.Mode, content: string(text)}))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return f.add(n)
}

const uuid = "0629e604-e4c8-4947-828a-bb064e6bb467"

// keys gives what a layout is in etcd, below the namespace, as deploy 3, with all contents of a forest.
func (f *forest) keys(t testing.TB, l *mgmt.Layout) map[string][]byte {
	t.Helper()
	keys := map[string][]byte{"/deploy/3/hash": []byte(strings.Repeat("5d", 20))}
	for _, content := range f.contents {
		keys[storageKey(content)] = []byte(content)
	}
	p := &mgmt.Payload{Frontend: l.Frontend, Mode: l.Mode, Settings: mgmt.Settings{Sema: -1}}
	at := mgmt.SuperblockPath(3, uuid)
	if l.Frontend != mgmt.Empty {
		p.InputURI = mgmt.InputURI(at)
	}
	if l.Superblock != nil {
		keys[at] = l.Superblock
	}
	for _, made := range [][]byte{l.Made, l.Version} {
		if made != nil {
			keys[storageKey(string(made))] = made
		}
	}
	value, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	keys["/deploy/3/payload"] = value
	if err := mgmttest.CheckKeys(slices.Collect(maps.Keys(keys))); err != nil {
		t.Fatal(err)
	}
	return keys
}

// refused wants a refusal about a path with a text in it and a remedy.
func refused(t testing.TB, err error, path, what string) {
	t.Helper()
	if !fault.Is(err, fault.Refused) || fault.RemedyOf(err) == "" || !strings.Contains(err.Error(), what) ||
		!isAbout(err, path) {
		t.Errorf("error is %v, remedy %q; want a refusal about %.300q with %q", err, fault.RemedyOf(err), path, what)
	}
}

// isAbout tells whether an error begins with a path; "" is none.
func isAbout(err error, path string) bool {
	quoted := fmt.Sprintf("%q", text.Shorten(path, 300))
	return strings.HasPrefix(err.Error(), quoted) == (path != "")
}
