package gc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

type (
	oid = tree.OID
	sum = tree.SHA256
)

// thing is a node, a content, or a superblock, as it was listed.
type thing struct {
	parts  []part
	marked bool      // something needs it
	spared bool      // and so is all that was known below it
	of     record.ID // the newest expired deploy that needed it; 0: none is known

	isRead bool // what it names is known
	dirs   []oid
	files  []file
	height int // of a node above the lowest unmarked one below it, from 1 on; 0: not known
}

// part is a key of a thing: one, or one for each chunk.
type part struct {
	key      string
	revision int64
	bytes    int64 // of its value; -1: not known
}

// file is a content that a node or a superblock names.
type file struct {
	sum  sum
	size int64 // -1: not known
}

// revision is the newest of its keys'.
func (t *thing) revision() (newest int64) {
	for _, p := range t.parts {
		newest = max(newest, p.revision)
	}
	return newest
}

// setSize tells how long what it holds is. mgmt has contents of any size at one key.
func (t *thing) setSize(size int64) {
	for i := range t.parts {
		p := &t.parts[i]
		p.bytes = size
		if _, chunk := cutChunk(p.key); chunk >= 0 {
			p.bytes = max(0, min(size-chunk*tree.ChunkSize, tree.ChunkSize))
		}
	}
}

// cutChunk takes the number of a chunk off a key; -1 if it has none.
func cutChunk(key string) (before string, chunk int64) {
	i := strings.LastIndexByte(key, '/')
	n, err := strconv.ParseInt(key[i+1:], 10, 63)
	if err != nil || n < 0 || strings.HasPrefix(key[i+1:], "+") || len(key)-i-1 >= shortestOID {
		return key, -1
	}
	return key[:i], n
}

// shortestOID is how many digits an oid has at least: more than the number of a chunk.
const shortestOID = 40

// list lists what is there. A key that belongs to nothing known is left alone.
func (c *collector) list(ctx context.Context) (err error) {
	c.tell("listing")
	if _, c.since, err = c.chain.BlocksSince(ctx, 0); err != nil {
		return err
	}
	nodes, contents, blocks := c.chain.ContentPrefixes()
	err = c.chain.ContentKeys(ctx, nodes, func(key string, revision int64) {
		before, _ := cutChunk(key)
		if at, err := tree.ParseOID(strings.TrimPrefix(before, nodes)); err == nil {
			add(c.nodes, at, key, revision)
		}
	})
	if err == nil {
		err = c.chain.ContentKeys(ctx, contents, func(key string, revision int64) {
			before, _ := cutChunk(key)
			if at, err := tree.ParseSHA256(strings.TrimPrefix(before, contents)); err == nil {
				add(c.contents, at, key, revision)
			}
		})
	}
	if err == nil {
		err = c.listBlocks(ctx, blocks)
	}
	c.mgmt = c.mgmt || len(c.blocks) > 0
	return err
}

func add[K comparable](things map[K]*thing, at K, key string, revision int64) {
	if things[at] == nil {
		things[at] = new(thing)
	}
	things[at].parts = append(things[at].parts, part{key, revision, -1})
}

// listBlocks lists the superblocks, again: those that were changed are other ones.
func (c *collector) listBlocks(ctx context.Context, prefix string) error {
	return c.chain.ContentKeys(ctx, prefix, func(key string, revision int64) {
		if old := c.blocks[key]; old == nil || old.revision() != revision {
			c.blocks[key] = &thing{parts: []part{{key, revision, -1}}}
		}
	})
}

func (c *collector) tell(step string) {
	if c.cfg.Progress != nil {
		c.cfg.Progress(text.Progress{Step: step, Bytes: c.result.Bytes, BytesTotal: c.total})
	}
}

// mark marks all that a deploy needs. What is missing is an error, unless a run, perhaps beside this one, has taken it.
func (c *collector) mark(ctx context.Context, d *record.Deploy) error {
	if d.Damage != nil {
		return c.unsure(d.ID, d.Damage)
	}
	err := c.markAll(ctx, d, d.ID <= c.expired && !c.pins[d.ID] && d.ID < c.head)
	if errors.Is(err, record.ErrMissing) {
		expired, whyNot := c.chain.IsExpired(ctx, d.ID) // by now
		if whyNot != nil {
			return whyNot
		}
		if expired {
			err = c.markAll(ctx, d, true)
		}
	}
	if err != nil {
		return c.unsure(d.ID, err)
	}
	c.marked[d.ID] = true
	return nil
}

func (c *collector) markAll(ctx context.Context, d *record.Deploy, mayLack bool) error {
	if d.Record != nil {
		if err := c.markTree(ctx, d.Record.Root(), mayLack); err != nil || !d.Record.Frontend.IsMgmt() {
			return err
		}
	}
	return c.markPayload(ctx, d, mayLack || d.Record == nil)
}

// ReasonUnsure: it cannot be told what a kept deploy needs, so that nothing may be deleted. About: namespace, id, how
// many deploys are newer, and "pinned" or "".
const ReasonUnsure fault.Reason = "gc-unsure"

func (c *collector) unsure(id record.ID, err error) error {
	if !fault.Is(err, fault.Corrupt) && !record.IsNewer(err) {
		return err
	}
	pinned := ""
	if c.pins[id] {
		pinned = "pinned"
	}
	return &fault.Error{
		What:   fmt.Sprintf("nothing is deleted, since it cannot be told what deploy %d needs: %v", id, err),
		Reason: ReasonUnsure, Cause: err,
		About: []string{string(c.ns), id.String(), strconv.Itoa(int(max(c.head, id) - id)), pinned},
	}
}

// nodesAtOnce is how many nodes are in memory at a time.
const nodesAtOnce = 32

// newNodes has no other bound.
func (c *collector) newNodes() *store.Nodes {
	return c.chain.NewNodesWithin(func(context.Context, int64) error { return nil })
}

// markTree marks a tree, a level at a time. Each node that is read is compared with what leads to it.
func (c *collector) markTree(ctx context.Context, root tree.Entry, mayLack bool) error {
	fresh := map[oid]bool{}
	for level := []tree.Entry{root}; len(level) > 0; {
		var next []tree.Entry
		var batch []*tree.Entry
		for i := range level {
			if e := &level[i]; !c.kept[e.OID] && !fresh[e.OID] {
				fresh[e.OID] = true
				batch = append(batch, e)
			}
			if len(batch) < nodesAtOnce && i < len(level)-1 {
				continue
			}
			below, err := c.markNodes(ctx, batch, mayLack)
			if err != nil {
				return err
			}
			next, batch = append(next, below...), nil
		}
		level = next
	}
	if !mayLack {
		maps.Copy(c.kept, fresh)
	}
	return nil
}

// spare marks a node and all that was known below it, which need not be all that is there by now.
func (c *collector) spare(at oid) {
	t := c.nodes[at]
	if t == nil || t.spared {
		return
	}
	t.marked, t.spared = true, true
	for _, dir := range t.dirs {
		c.spare(dir)
	}
	c.markContents(t.files)
}

func (c *collector) markContents(files []file) {
	for _, f := range files {
		if t := c.contents[f.sum]; t != nil {
			t.marked = true
		}
	}
}

// markNodes marks nodes that must be read, and gives the directories that they name.
func (c *collector) markNodes(ctx context.Context, dirs []*tree.Entry, mayLack bool) (below []tree.Entry, err error) {
	nodes := c.newNodes()
	if err := nodes.Load(ctx, dirs); err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		entries, err := nodes.Entries(dir)
		if errors.Is(err, record.ErrMissing) && mayLack {
			continue
		}
		if err != nil {
			return nil, err
		}
		if t := c.nodes[dir.OID]; t != nil {
			t.marked = true
		}
		for _, e := range entries {
			switch {
			case e.Mode == filemode.Dir && !c.kept[e.OID]:
				e.Name = "" // it would hold the names of all in memory
				below = append(below, e)
			case e.Mode != filemode.Dir && e.Mode != filemode.Submodule:
				c.markContents([]file{{sum: e.SHA256}})
			}
		}
	}
	return below, nil
}

// markPayload marks the superblock that a deploy's payload names, and those that are named after it, with all contents
// that they list.
func (c *collector) markPayload(ctx context.Context, d *record.Deploy, mayLack bool) error {
	key := c.chain.DeployKey(d.ID, record.KeyPayload)
	values, err := c.chain.Values(ctx, key)
	if err != nil {
		return err
	}
	named := ""
	if values[0].Revision != 0 {
		payload, err := mgmt.DecodePayload(values[0].Value)
		switch {
		case err == nil:
			named = payload.SuperblockPath()
		case d.Record != nil:
			return record.Corrupt(key, err.Error())
		}
	} else if d.Record != nil {
		return record.Missing(key)
	}
	if named != "" {
		if err := c.markNamed(ctx, string(c.ns)+named, mayLack); err != nil {
			return err
		}
	}
	if d.Record != nil {
		return nil
	}
	for at, block := range c.blocks {
		if isOf(at, d.ID, string(c.ns)) {
			if err := c.markBlock(ctx, at, block); err != nil {
				return err
			}
		}
	}
	return nil
}

// markNamed marks a superblock that a payload names. It may have come after they were listed.
func (c *collector) markNamed(ctx context.Context, key string, mayLack bool) error {
	block := c.blocks[key]
	if block == nil {
		values, err := c.chain.Values(ctx, key)
		if err != nil {
			return err
		}
		block = &thing{parts: []part{{key, values[0].Revision, -1}}}
		if values[0].Revision != 0 {
			c.blocks[key] = block
		}
	}
	err := c.markBlock(ctx, key, block)
	if err == nil && !block.isRead && !mayLack {
		err = record.Missing(key)
	}
	return err
}

// isOf tells whether a superblock's key has a deploy's id in it, as mgmt names them.
func isOf(key string, id record.ID, ns string) bool {
	return strings.HasPrefix(key, ns+mgmt.SuperblockPath(uint64(id), ""))
}

// markBlock marks a superblock and what it lists.
func (c *collector) markBlock(ctx context.Context, key string, block *thing) error {
	if err := c.readBlock(ctx, key, block); err != nil {
		return err
	}
	block.marked = true
	c.markContents(block.files)
	return nil
}

// readBlock reads what a superblock lists.
func (c *collector) readBlock(ctx context.Context, key string, block *thing) error {
	if block.isRead {
		return nil
	}
	values, err := c.chain.Values(ctx, key)
	if err != nil || values[0].Revision == 0 {
		return err // it is gone
	}
	root, err := mgmt.DecodeSuperblock(values[0].Value)
	if err != nil {
		return record.Corrupt(key, err.Error())
	}
	block.isRead = true
	block.setSize(int64(len(values[0].Value)))
	var add func(f *mgmt.File)
	add = func(f *mgmt.File) {
		if !f.Mode.IsDir() {
			block.files = append(block.files, file{f.SHA256, -1})
		}
		for _, child := range f.Children {
			add(child)
		}
	}
	add(root)
	return nil
}

// markYoung reads what is not marked, and marks what came after a revision, with all below it: a push may have died a
// moment ago. Other superblocks than those of deploys stay, too: some other program has put them.
func (c *collector) markYoung(ctx context.Context, limit int64) error {
	if err := c.readRest(ctx); err != nil {
		return err
	}
	for at, t := range c.nodes {
		if !t.marked && t.revision() > limit {
			c.spare(at)
		}
	}
	ofDeploys := string(c.ns) + mgmt.SuperblockPrefix
	for key, t := range c.blocks {
		stays := t.revision() > limit || !strings.HasPrefix(key, ofDeploys)
		err := c.readBlock(ctx, key, t)
		switch {
		case err != nil && (stays || !fault.Is(err, fault.Corrupt)):
			return fmt.Errorf("nothing is deleted, since it cannot be told what is needed: %w", err)
		case stays:
			err = c.markBlock(ctx, key, t)
		}
		if stays && err != nil {
			return err
		}
	}
	for _, t := range c.contents {
		t.marked = t.marked || t.revision() > limit
	}
	return nil
}

// readRest reads the nodes that are not marked. One that cannot be read has nothing below it.
func (c *collector) readRest(ctx context.Context) error {
	var batch []*tree.Entry
	read := func() error {
		nodes := c.newNodes()
		if err := nodes.Load(ctx, batch); err != nil {
			return err
		}
		for _, e := range batch {
			c.nodes[e.OID].take(nodes.Node(e.OID), nodes.Entry(e.OID).Size)
		}
		batch = nil
		return nil
	}
	for at, t := range c.nodes {
		if t.marked {
			continue
		}
		if batch = append(batch, &tree.Entry{OID: at, Mode: filemode.Dir}); len(batch) == nodesAtOnce {
			if err := read(); err != nil {
				return err
			}
		}
	}
	return read()
}

// take takes in what a node names.
func (t *thing) take(node *tree.Node, size int64) {
	t.isRead = true
	if node == nil {
		return
	}
	t.setSize(size)
	for _, e := range node.Entries {
		switch e.Mode {
		case filemode.Dir:
			t.dirs = append(t.dirs, e.OID)
		case filemode.Submodule:
		default:
			t.files = append(t.files, file{e.SHA256, e.Size})
		}
	}
}
