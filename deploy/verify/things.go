package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sync/errgroup"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// thing is a node or a content, as what leads to it names it.
type thing struct {
	oid   tree.OID
	sum   tree.SHA256
	size  int64
	flaw  flaw    // its own
	below []int32 // of a node, the things that it names

	all     flaw // its own, and those of all that is below; only if isKnown
	isKnown bool
}

// flaw is what is wrong with a thing.
type flaw uint8

const (
	missing flaw = 1 << iota // a key is missing
	wrong
)

// things are all that deploys have, each once. They are numbered.
type things struct {
	list     []thing
	nodes    map[tree.OID]int32
	contents map[tree.SHA256]int32
	again    map[tree.SHA256]int32 // of contents, those that deploys of the other object format name, too
	errs     map[int32]error       // what is wrong with one
	uncut    map[tree.SHA256]error // contents that mgmt reads at one key, and what is wrong with one
}

func newThings() things {
	return things{
		nodes: map[tree.OID]int32{}, contents: map[tree.SHA256]int32{}, again: map[tree.SHA256]int32{},
		errs: map[int32]error{}, uncut: map[tree.SHA256]error{},
	}
}

// add gives the number of what an entry names, and tells whether it is new. What was named in another way before is
// a thing of its own, and wrong: a key holds one value.
func (t *things) add(e *tree.Entry, key func() string) (i int32, isNew bool) {
	known, contents := false, t.contents
	if e.Mode == filemode.Dir {
		i, known = t.nodes[e.OID]
	} else if i, known = contents[e.SHA256]; known && t.list[i].oid.Format() != e.OID.Format() {
		contents = t.again // the same bytes have a name in each format
		i, known = contents[e.SHA256]
	}
	if known {
		if of := &t.list[i]; of.oid == e.OID && of.sum == e.SHA256 && of.size == e.Size {
			return i, false
		}
	}
	next := int32(len(t.list))
	t.list = append(t.list, thing{oid: e.OID, sum: e.SHA256, size: e.Size})
	switch {
	case known:
		t.list[next].flaw = wrong
		t.errs[next] = record.Corrupt(key(), fmt.Sprintf("what leads to it names it with other oids, sizes or sha256s: "+
			"%s, %d bytes of %s, and %s, %d bytes of %s", e.OID, e.Size, e.SHA256,
			t.list[i].oid, t.list[i].size, t.list[i].sum))
	case e.Mode == filemode.Dir:
		t.nodes[e.OID] = next
	default:
		contents[e.SHA256] = next
	}
	return next, !known
}

// fail says what is wrong with a thing.
func (t *things) fail(i int32, err error) {
	t.list[i].flaw, t.errs[i] = flawOf(err), err
}

// flawed gives all that is wrong with a thing and with what is below.
func (t *things) flawed(i int32) flaw {
	of := &t.list[i]
	if !of.isKnown {
		of.isKnown, of.all = true, of.flaw // no node can be below itself: its hash is in those above
		for _, below := range of.below {
			of.all |= t.flawed(below)
		}
	}
	return of.all
}

// each calls fn for what is wrong at a thing and below, once for each thing.
func (t *things) each(i int32, seen map[int32]bool, fn func(isNode bool, is flaw, err error)) {
	of := &t.list[i]
	if of.all == 0 || seen[i] {
		return
	}
	seen[i] = true
	if of.flaw != 0 {
		at, isNode := t.nodes[of.oid]
		fn(isNode && at == i, of.flaw, t.errs[i])
	}
	for _, below := range of.below {
		t.each(below, seen, fn)
	}
}

// content verifies nodes and contents of deploys.
func (r *run) content(ctx context.Context, block []*Deploy) error {
	roots := make([]int32, len(block))
	var level []dir
	for i, d := range block {
		if d.Record == nil {
			continue
		}
		root := d.Record.Root()
		n, isNew := r.number(&root)
		if roots[i] = n; isNew {
			level = append(level, dir{n, root})
		}
	}
	w := &contentReader{run: r}
	for len(level) > 0 {
		next, err := r.level(ctx, level, w)
		if err != nil {
			return err
		}
		level = next
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	for i, d := range block {
		if d.Record == nil {
			continue
		}
		if err := r.judgeContent(ctx, d, roots[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) number(e *tree.Entry) (int32, bool) {
	return r.things.add(e, func() string {
		if e.Mode == filemode.Dir {
			return r.chain.TreeKey(e.OID)
		}
		return r.chain.ContentKey(e.SHA256)
	})
}

// dir is a directory whose node is to be read.
type dir struct {
	number int32
	entry  tree.Entry
}

const (
	// nodesTogether is how many nodes are read together, and in memory for each of the reads that are under way.
	nodesTogether = 32
	// nodeBytes is how many bytes of text they have together, unless one has more.
	nodeBytes = 8 << 20
	// readsAtOnce is how many reads are under way.
	readsAtOnce = 4
)

// together tells how many of the first directories are read together.
func together(level []dir) int {
	n, bytes := 0, int64(0)
	for n < len(level) && n < nodesTogether && (n == 0 || bytes+level[n].entry.Size <= nodeBytes) {
		bytes += level[n].entry.Size
		n++
	}
	return n
}

// level reads directories' nodes, and gives the directories that they name and that are new.
func (r *run) level(ctx context.Context, level []dir, w *contentReader) (next []dir, err error) {
	var adding sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for len(level) > 0 {
		some := level[:together(level)]
		level = level[len(some):]
		read := func() error {
			nodes := r.nodes
			if nodes == nil {
				nodes = r.chain.NewNodes()
			}
			entries := make([]*tree.Entry, len(some))
			for i := range some {
				entries[i] = &some[i].entry
			}
			if err := nodes.Load(ctx, entries); err != nil {
				return err
			}
			adding.Lock()
			defer adding.Unlock()
			for _, d := range some {
				found, err := nodes.Entries(&d.entry)
				if err != nil && !fault.Is(err, fault.Corrupt) {
					return err
				}
				if err != nil {
					r.things.fail(d.number, err)
					continue
				}
				next = append(next, r.addBelow(d.number, found, w)...)
				r.result.Keys++
				r.result.Bytes += d.entry.Size
				r.tell(0, d.entry.Size)
			}
			return w.flushIfMany(ctx)
		}
		if r.nodes != nil { // they belong to one goroutine
			if err := read(); err != nil {
				return nil, err
			}
			continue
		}
		group.Go(read)
	}
	return next, group.Wait()
}

// addBelow adds what a node names, and gives the directories among it that are new.
func (r *run) addBelow(of int32, entries []tree.Entry, w *contentReader) (dirs []dir) {
	below := make([]int32, 0, len(entries))
	for _, e := range entries {
		if e.Mode == filemode.Submodule {
			continue
		}
		i, isNew := r.number(&e)
		below = append(below, i)
		e.Name = "" // it would hold the names of all in memory
		switch {
		case !isNew:
		case e.Mode == filemode.Dir:
			dirs = append(dirs, dir{i, e})
		default:
			w.held = append(w.held, content{i, e})
		}
	}
	r.things.list[of].below = below
	return dirs
}

// contentReader collects contents that are to be read.
type contentReader struct {
	run  *run
	held []content
}

// content is one that is to be read.
type content struct {
	number int32
	entry  tree.Entry
}

// contentsHeld bounds how many contents are collected before they are read.
const contentsHeld = 16 << 10

func (w *contentReader) flushIfMany(ctx context.Context) error {
	if len(w.held) < contentsHeld {
		return nil
	}
	return w.flush(ctx)
}

func (w *contentReader) flush(ctx context.Context) error {
	r := w.run
	// In the order of their keys: a bundle has them in blocks, each of which is decompressed once then.
	slices.SortFunc(w.held, func(a, b content) int { return bytes.Compare(a.entry.SHA256[:], b.entry.SHA256[:]) })
	entries := make([]tree.Entry, len(w.held))
	for i := range w.held {
		entries[i] = w.held[i].entry
	}
	err := r.chain.CheckContents(ctx, entries, func(i int, wrong error) {
		if wrong != nil {
			r.things.fail(w.held[i].number, wrong)
			return
		}
		r.result.Keys += len(store.ChunkKeys("", entries[i].Size))
		r.result.Bytes += entries[i].Size
		r.tell(1, entries[i].Size)
	})
	w.held = w.held[:0]
	return err
}

// judgeContent says what of a deploy's tree holds.
func (r *run) judgeContent(ctx context.Context, d *Deploy, root int32) error {
	d.Answers[Tree], d.Answers[Contents] = Holds, Holds
	is := r.things.flawed(root)
	if is == 0 {
		return nil
	}
	expired := false
	if is&missing != 0 {
		var err error
		if expired, err = r.isExpired(ctx, d.ID); err != nil {
			return err
		}
	}
	r.things.each(root, map[int32]bool{}, func(isNode bool, is flaw, err error) {
		check := Contents
		if isNode {
			check = Tree
		}
		if expired && is == missing {
			r.lacks(d, check)
			if isNode { // what is below it is not known
				r.lacks(d, Contents)
			}
			return
		}
		_ = r.fail(d, check, err)
		if isNode && d.Answers[Contents] == Holds {
			d.Answers[Contents] = NotChecked
		}
	})
	return nil
}

// lacks says that something of a deploy has expired.
func (r *run) lacks(d *Deploy, check Check) {
	d.lacks = true
	if d.Answers[check] != Fails {
		d.Answers[check] = Expired
	}
}

// isExpired tells whether gc may have taken content of a deploy, by now.
func (r *run) isExpired(ctx context.Context, id record.ID) (bool, error) {
	if id <= r.expired && id < r.head && !r.pins[id] {
		return true, nil
	}
	return r.chain.IsExpired(ctx, id)
}
