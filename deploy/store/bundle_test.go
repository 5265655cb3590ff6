package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

const (
	namespace = "/refship/config"
	own       = namespace + "/refship/"
)

// bundle is a Reader over a map, and counts how often it is read.
type bundle struct {
	keys      map[string]string
	reading   sync.Mutex
	reads     int
	asked     map[string]int // how often each key, if it is not nil
	compacted int            // how many reads of a revision fail
}

func newBundle() *bundle { return &bundle{keys: map[string]string{}} }

func (b *bundle) Read(_ context.Context, revision int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.reads++; len(queries) > store.MaxQueries {
		return nil, 0, fmt.Errorf("%d queries", len(queries))
	}
	if revision != 0 && b.compacted > 0 {
		b.compacted--
		return nil, 0, store.ErrCompacted
	}
	found := make([][]store.KeyValue, len(queries))
	for i, q := range queries {
		if b.asked != nil {
			b.asked[q.Key]++
		}
		if q.Count {
			found[i] = []store.KeyValue{{Key: q.Key}}
			for key := range b.keys {
				if strings.HasPrefix(key, q.Key) {
					found[i][0].Count++
				}
			}
			continue
		}
		keys, most := []string{q.Key}, max(q.First, q.Last)
		if most > 0 {
			keys = slices.Sorted(maps.Keys(b.keys))
		}
		if q.Last > 0 {
			slices.Reverse(keys)
		}
		for _, key := range keys {
			isIn := strings.HasPrefix(key, q.Key) && q.End == "" || key >= q.Key && key < q.End
			if _, ok := b.keys[key]; !ok || key != q.Key && !(most > len(found[i]) && isIn) || key <= q.After {
				continue
			}
			kv := store.KeyValue{Key: key, Value: []byte(b.keys[key]), Revision: 1}
			if q.NoValue {
				kv.Value = nil
			}
			found[i] = append(found[i], kv)
		}
	}
	return found, 1, nil
}

// dir is a directory of a deploy: strings, links and dirs by name.
type dir map[string]any

type link string

// put puts a directory's node, and all below it, and gives its entry.
func (b *bundle) put(t testing.TB, chain *store.Chain, d dir) tree.Entry {
	t.Helper()
	node := new(tree.Node)
	for name, value := range d {
		var entry tree.Entry
		switch value := value.(type) {
		case dir:
			entry = b.put(t, chain, value)
		case link:
			entry = b.content(chain, filemode.Symlink, string(value))
		case string:
			entry = b.content(chain, filemode.Regular, value)
		}
		entry.Name = name
		node.Entries = append(node.Entries, entry)
	}
	slices.SortFunc(node.Entries, gitOrder)
	nodes := chain.NewNodes()
	nodes.Add(node.OID(tree.FormatSHA1), node, node.Text())
	b.cut(chain.TreeKey(node.OID(tree.FormatSHA1)), string(node.Text()))
	return nodes.Entry(node.OID(tree.FormatSHA1))
}

// gitOrder is git's order of entries: a directory comes as if its name ended with a slash.
func gitOrder(a, b tree.Entry) int {
	key := func(e tree.Entry) string {
		if e.Mode == filemode.Dir {
			return e.Name + "/"
		}
		return e.Name
	}
	return strings.Compare(key(a), key(b))
}

func (b *bundle) content(chain *store.Chain, mode filemode.FileMode, content string) tree.Entry {
	sum := tree.NewContentHash(tree.FormatSHA1, int64(len(content)))
	_, _ = sum.Write([]byte(content))
	b.cut(chain.ContentKey(sum.SHA256()), content)
	return tree.Entry{Mode: mode, OID: sum.OID(), Size: int64(len(content)), SHA256: sum.SHA256()}
}

// cut puts a value, in chunks if it is long.
func (b *bundle) cut(key, value string) {
	for i, k := range store.ChunkKeys(key, int64(len(value))) {
		b.keys[k] = value[i*tree.ChunkSize : min((i+1)*tree.ChunkSize, len(value))]
	}
}

// deploy puts a deploy of a plain directory.
func (b *bundle) deploy(t testing.TB, chain *store.Chain, id record.ID, files int, d dir) {
	t.Helper()
	root := b.put(t, chain, d)
	var below record.Ref
	if text, ok := b.keys[chain.DeployKey(id-1, record.KeyRecord)]; ok {
		below = record.Ref{ID: id - 1, SHA256: record.Sum([]byte(text))}
	}
	made, err := record.NewDeploy(&record.Record{
		Format: record.Format, Namespace: namespace, Chain: "00112233445566778899aabbccddeeff", ID: id,
		Kind: record.KindDeploy, Hash: record.TreeHash(root.OID), Tree: root.OID, TreeSHA256: root.SHA256,
		TreeSize: root.Size, Files: files, Frontend: record.Files, PreviousRecord: below, Undone: []record.Undone{},
		Time: time.Now().UTC(),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.keys[chain.DeployKey(id, record.KeyHash)] = string(made.Hash)
	b.keys[chain.DeployKey(id, record.KeyRecord)] = string(made.RecordBytes)
}

// All that is read of a chain is read through a Reader: here there is no etcd at all.
func TestReadingABundle(t *testing.T) {
	b, big := newBundle(), strings.Repeat("0123456789", 350_000)
	chain := store.New(b, namespace)
	b.deploy(t, chain, 1, 3, dir{"a": "1", "sub": dir{"big": big, "to": link("../a")}})
	b.deploy(t, chain, 2, 3, dir{"a": "2", "new": dir{"b": ""}, "sub": dir{"big": big, "to": link("../a")}})
	first, err := chain.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := chain.Head(t.Context())
	if err != nil || second.ID != 2 {
		t.Fatal(second, err)
	}
	var paths []string
	err = chain.List(t.Context(), second, "", true, func(path string, e tree.Entry) error {
		paths = append(paths, fmt.Sprint(path, " ", e.Size))
		return nil
	})
	if diff := cmp.Diff([]string{"a 1", "new/b 0", "sub/big 3500000", "sub/to 4"}, paths); err != nil || diff != "" {
		t.Errorf("%v, listed (-want +got):\n%s", err, diff)
	}
	var out bytes.Buffer
	if err := chain.Cat(t.Context(), first, &out, "sub/big"); err != nil || out.String() != big {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
	var changed []string
	err = chain.Diff(t.Context(), first, second, func(c store.Change) error {
		changed = append(changed, c.Path)
		return nil
	})
	if diff := cmp.Diff([]string{"a", "new/b"}, changed); err != nil || diff != "" {
		t.Errorf("%v, changed (-want +got):\n%s", err, diff)
	}
	to := filepath.Join(t.TempDir(), "out")
	if err := chain.Checkout(t.Context(), second, to, func(text.Progress) {}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "2", "new/b": "", "sub/big": big, "sub/to": "2"} {
		if got, err := fs.ReadFile(os.DirFS(to), name); err != nil || string(got) != want {
			t.Errorf("%s has %d bytes, %v", name, len(got), err)
		}
	}
	delete(b.keys, chain.TreeKey(first.Record.Root().OID))
	err = chain.List(t.Context(), first, "", false, func(string, tree.Entry) error { return nil })
	if !fault.Is(err, fault.Corrupt) {
		t.Errorf("of a bundle that lacks a node: %v", err)
	}
}
