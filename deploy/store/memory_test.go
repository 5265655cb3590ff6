package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// endless is a Reader in which every key has a full chunk, and counts what it has handed out.
type endless struct {
	except map[string]string
	chunk  []byte
	bytes  int
}

func (r *endless) Read(_ context.Context, _ int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	found := make([][]store.KeyValue, len(queries))
	for i, q := range queries {
		value := bytes.Clone(r.chunk)
		if text, ok := r.except[q.Key]; ok {
			value = []byte(text)
		}
		r.bytes += len(value)
		found[i] = []store.KeyValue{{Key: q.Key, Value: value}}
	}
	return found, 1, nil
}

func newEndless() *endless {
	return &endless{except: map[string]string{}, chunk: bytes.Repeat([]byte("x"), tree.ChunkSize)}
}

// peakHeap runs fn and gives the most that it had in memory beyond what was there before, in bytes, garbage included.
func peakHeap(t *testing.T, fn func()) int64 {
	t.Helper()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	runtime.GC()
	before, peak := heap(), int64(0)
	done, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, heap())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	fn()
	close(done)
	<-sampled
	return max(peak, heap()) - before
}

// Of a node no more is read than the size that leads to it, however many chunks there are; where none leads to it, no
// more than a node can have.
func TestNodeOfEndlessChunks(t *testing.T) {
	oid := tree.HashObject(tree.FormatSHA1, "tree", []byte("none"))
	for _, c := range []struct {
		size  int64 // that the directory above names; -1: none does
		chunk bool  // there is no key without a chunk's number
		most  int   // bytes that are read
	}{
		{100, false, tree.ChunkSize}, {100, true, tree.ChunkSize},
		{3*tree.ChunkSize + 1, false, 4 * tree.ChunkSize},
		{1 << 60, false, tree.MaxNode},
		{-1, false, 2 * tree.ChunkSize}, {-1, true, tree.MaxNode + tree.ChunkSize},
	} {
		r := newEndless()
		chain := store.New(r, namespace)
		dir := &tree.Entry{OID: oid}
		if c.size >= 0 {
			dir.Size, dir.SHA256 = c.size, tree.SHA256{1}
		}
		if c.chunk {
			r.except[chain.TreeKey(oid)] = ""
		}
		nodes := chain.NewNodes()
		peak := peakHeap(t, func() {
			if err := nodes.Load(t.Context(), []*tree.Entry{dir}); err != nil {
				t.Error(err)
			}
		})
		if _, err := nodes.Get(oid); !fault.Is(err, fault.Corrupt) {
			t.Errorf("size %d: got %v", c.size, err)
		}
		if r.bytes > c.most {
			t.Errorf("size %d: %d bytes were read", c.size, r.bytes)
		}
		if most := int64(8*c.most + 1<<20); peak > most {
			t.Errorf("size %d: %d bytes of memory were taken", c.size, peak)
		}
	}
}

// A content is no longer than its directory says: what is more, or less, is damage, and found at the first chunk.
func TestContentOfAnotherSize(t *testing.T) {
	b := newBundle()
	chain := store.New(b, namespace)
	big := strings.Repeat("0123456789", 350_000)
	b.deploy(t, chain, 1, 2, dir{"big": big, "small": "12345"})
	d, err := chain.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(b.keys)
	for key, value := range want {
		if !strings.Contains(key, "/storage/") {
			continue
		}
		for name, now := range map[string]string{"longer": value + strings.Repeat("x", 3<<20), "shorter": value[1:]} {
			b.keys[key] = now
			var out bytes.Buffer
			where := map[bool]string{true: "small", false: "big"}[value == "12345"]
			err := chain.Cat(t.Context(), d, &out, where)
			fixture.WantFault(t, fault.Corrupt, err,
				fmt.Sprintf("%d bytes are there, %d were deployed", len(now), len(value)), "")
			if out.Len() > 0 && where == "small" {
				t.Errorf("%s %s: %d bytes were written", name, key, out.Len())
			}
			err = chain.Checkout(t.Context(), d, path.Join(t.TempDir(), "out"), func(text.Progress) {})
			fixture.WantFault(t, fault.Corrupt, err, "bytes are there", "")
		}
		b.keys[key] = value
	}
}

// largeNode is a node of several chunks.
func largeNode() *tree.Node {
	node := new(tree.Node)
	for i := range 20_000 {
		node.Entries = append(node.Entries, tree.Entry{
			Mode: filemode.Regular, Name: fmt.Sprintf("f%06d", i), OID: fixture.BlobOID("x"), Size: 1, SHA256: tree.SHA256{9},
		})
	}
	return node
}

// A node that is there in another way than it is written, or with another size than it is named with, is not taken.
func TestNodeInOtherChunks(t *testing.T) {
	node := largeNode()
	oid, whole := node.OID(tree.FormatSHA1), string(node.Text())
	for name, c := range map[string]struct {
		key  string // with the whole text, behind the node's own; "-": it is cut as it should be
		size int    // that the directory above names; 0: none does
	}{
		"uncut": {"", 0}, "uncut, named": {"", len(whole)},
		"in one chunk": {"/0", 0}, "in one chunk, named": {"/0", len(whole)},
		"named longer": {"-", len(whole) + 1}, "named shorter": {"-", len(whole) - 1}, "named as one": {"-", 100},
	} {
		b := newBundle()
		chain := store.New(b, namespace)
		if c.key == "-" {
			b.cut(chain.TreeKey(oid), whole)
		} else {
			b.keys[chain.TreeKey(oid)+c.key] = whole
		}
		dir := &tree.Entry{OID: oid}
		if c.size > 0 {
			dir.Size, dir.SHA256 = int64(c.size), tree.SHA256{1}
		}
		nodes := chain.NewNodes()
		if err := nodes.Load(t.Context(), []*tree.Entry{dir}); err != nil || nodes.Node(oid) != nil {
			t.Errorf("%s: it is taken, %v", name, err)
		}
	}
}

// Whatever chunks there are, a node that becomes known is the one that was put, or what its oid names.
func TestChunksOfANode(t *testing.T) {
	chain := store.New(newBundle(), namespace)
	node := largeNode()
	oid, whole := node.OID(tree.FormatSHA1), string(node.Text())
	rapid.Check(t, func(t *rapid.T) {
		b := newBundle()
		b.cut(chain.TreeKey(oid), whole)
		damaged := false
		for range rapid.IntRange(0, 2).Draw(t, "damages") {
			key := chain.TreeKey(oid)
			if i := rapid.IntRange(-1, 4).Draw(t, "chunk"); i >= 0 {
				key = fmt.Sprint(key, "/", i)
			}
			value, there := b.keys[key]
			switch rapid.SampledFrom([]string{"delete", "empty", "short", "long", "full"}).Draw(t, "how") {
			case "delete":
				delete(b.keys, key)
			case "empty":
				b.keys[key] = ""
			case "short":
				b.keys[key] = value[:len(value)/2]
			case "long":
				b.keys[key] = value + "x"
			case "full":
				b.keys[key] = strings.Repeat("x", tree.ChunkSize)
			}
			damaged = damaged || there || key == chain.TreeKey(oid)
		}
		dir := &tree.Entry{OID: oid}
		if rapid.Bool().Draw(t, "named") {
			dir.Size, dir.SHA256 = int64(len(whole)), tree.SHA256{1}
		}
		nodes := store.New(b, namespace).NewNodes()
		if err := nodes.Load(t.Context(), []*tree.Entry{dir}); err != nil {
			t.Fatal(err)
		}
		switch known, err := nodes.Get(oid); {
		case err != nil && !damaged && dir.Size > 0:
			t.Fatalf("unknown: %v", err)
		case err == nil && string(known.Text()) != whole:
			t.Fatal("another node")
		}
	})
}

// large puts a tree in which each of some directories holds the next one many times over, with a file at the bottom.
func (b *bundle) large(chain *store.Chain, names []string, levels int, size int64) tree.Entry {
	sum := tree.NewContentHash(tree.FormatSHA1, size)
	at := tree.Entry{Mode: filemode.Regular, OID: sum.OID(), Size: size, SHA256: tree.SHA256{1}}
	for range levels {
		node := new(tree.Node)
		for _, name := range names {
			at.Name = name
			node.Entries = append(node.Entries, at)
		}
		nodes := chain.NewNodes()
		nodes.Add(node.OID(tree.FormatSHA1), node, node.Text())
		b.cut(chain.TreeKey(node.OID(tree.FormatSHA1)), string(node.Text()))
		at = nodes.Entry(node.OID(tree.FormatSHA1))
	}
	return at
}

// A few nodes that name each other many times over are refused before anything is made, and each is read once.
func TestReadingWhatIsTooLarge(t *testing.T) {
	for name, c := range map[string]struct {
		names  []string
		levels int
		size   int64
		want   string
		hint   string
	}{
		"files": {fixture.Numbered(1000), 4, 1, "the tree has at least 1001000 files and directories (limit 1000000)",
			"tree-large"},
		"depth": {fixture.Numbered(1), 201, 1, "has 201 elements (limit 200)", "path-long"},
		"name":  {[]string{strings.Repeat("n", 256)}, 2, 1, "name is 256 bytes (limit 255)", "path-long"},
		"path":  {[]string{strings.Repeat("n", 200)}, 21, 1, "is 4220 bytes (limit 4095)", "path-long"},
		"path bytes": {[]string{strings.Repeat("m", 250), strings.Repeat("n", 250)}, 16, 1, "more than 256 MiB",
			"tree-large"},
		"disk": {fixture.Numbered(100), 2, 1 << 50, "it takes 4 EiB, and the disk of", "another disk"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle()
			chain := store.New(b, namespace)
			root := b.large(chain, c.names, c.levels, c.size)
			d, err := record.NewDeploy(&record.Record{
				Format: record.Format, ID: 1, Hash: record.TreeHash(root.OID), Tree: root.OID,
				TreeSHA256: root.SHA256, TreeSize: root.Size, Files: 1, Frontend: record.Files,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			to := t.TempDir()
			peak := peakHeap(t, func() {
				err := chain.Checkout(t.Context(), d, path.Join(to, "out"), func(text.Progress) {})
				fixture.WantFault(t, fault.Refused, err, c.want, c.hint)
			})
			if peak > 64<<20 {
				t.Errorf("%d bytes of memory were taken", peak)
			}
			if made, err := os.ReadDir(to); err != nil || len(made) != 0 {
				t.Errorf("made %v, %v", made, err)
			}
			if b.reads > c.levels {
				t.Errorf("%d reads of %d nodes", b.reads, c.levels)
			}
			if name == "disk" {
				return
			}
			listed := 0
			err = chain.List(t.Context(), d, "", true, func(string, tree.Entry) error { listed++; return nil })
			fixture.WantFault(t, fault.Refused, err, c.want, c.hint)
			if listed > 0 {
				t.Errorf("%d entries were listed", listed)
			}
		})
	}
}

// The nodes of one reader have a bound in memory.
func TestNodesWithin(t *testing.T) {
	b := newBundle()
	chain := store.New(b, namespace)
	root := b.put(t, chain, dir{"a": dir{"b": dir{"c": "x"}}})
	full := errors.New("full")
	for bound := range 3 {
		left := bound
		nodes := chain.NewNodesWithin(func(_ context.Context, bytes int64) error {
			if left--; left < 0 {
				return full
			}
			if bytes <= 0 {
				t.Errorf("%d bytes", bytes)
			}
			return nil
		})
		if _, err := nodes.Tally(t.Context(), tree.Entry{}, root); !errors.Is(err, full) {
			t.Errorf("with room for %d nodes: %v", bound, err)
		}
	}
}
