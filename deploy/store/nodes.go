package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

const dirMode = filemode.Dir

const (
	// nodesPerRead keeps one answer small: a node can be as large as a chunk, or the first of many.
	nodesPerRead = 32
	// maxMemory is what the nodes of one Nodes may take, in bytes, where its maker sets no bound.
	maxMemory = 256 << 20
	// nodeMemory is what a node takes in memory beside its entries, in a Nodes and in a walk, in bytes, rounded up.
	nodeMemory = 400
)

// Nodes reads tree nodes and keeps them, each is read at most once.
type Nodes struct {
	chain  *Chain
	take   func(ctx context.Context, bytes int64) error // called before memory is taken
	known  map[tree.OID]knownNode
	broken map[tree.OID]string // what is wrong with a node that is there
}

type knownNode struct {
	node  *tree.Node
	entry tree.Entry // its oid, and size and sha256 of its text
}

// NewNodes gives Nodes that know none yet, and take 256 MiB of memory at most: then Load gives a fault.Refused.
func (c *Chain) NewNodes() *Nodes {
	left := int64(maxMemory)
	return c.NewNodesWithin(func(_ context.Context, bytes int64) error {
		if left -= bytes; left < 0 {
			return tooLarge("the tree's directories take more than %s in memory", text.Size(maxMemory))
		}
		return nil
	})
}

// NewNodesWithin is NewNodes with another bound: take is called with some bytes of memory before they are taken, and
// its error ends the call that wants them.
func (c *Chain) NewNodesWithin(take func(ctx context.Context, bytes int64) error) *Nodes {
	return &Nodes{chain: c, take: take, known: map[tree.OID]knownNode{}, broken: map[tree.OID]string{}}
}

// Node gives a directory's node, nil if it is not known.
func (n *Nodes) Node(oid tree.OID) *tree.Node { return n.known[oid].node }

// Entry gives a directory as the one above names it: its oid, and size and sha256 of its node's text; zero if it is
// not known.
func (n *Nodes) Entry(oid tree.OID) tree.Entry { return n.known[oid].entry }

// Load reads the nodes of those directories that are not known yet. A directory comes as the one above names it, or
// with no more than its oid: of the former no more is read than the size that is named. A node that is missing,
// incomplete, broken or of another size stays unknown: a reader reports it (Unknown), and a deploy that has the
// directory writes it again.
func (n *Nodes) Load(ctx context.Context, dirs []*tree.Entry) error {
	var missing []*tree.Entry
	asked := map[tree.OID]bool{}
	for _, dir := range dirs {
		if n.Node(dir.OID) == nil && !asked[dir.OID] {
			asked[dir.OID] = true
			missing = append(missing, dir)
		}
	}
	for batch := range slices.Chunk(missing, nodesPerRead) {
		if err := n.load(ctx, batch); err != nil {
			return fmt.Errorf("read trees of %s: %w", n.chain.ns, err)
		}
	}
	return nil
}

// load reads nodes: the first key of each together, and then the further chunks of those that have some.
func (n *Nodes) load(ctx context.Context, dirs []*tree.Entry) error {
	var keys []string
	for _, dir := range dirs {
		keys = append(keys, n.firstKeys(dir)...)
	}
	found, err := n.chain.readKeys(ctx, keys)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		count := len(n.firstKeys(dir))
		first := found[:count]
		found = found[count:]
		if err := n.loadOne(ctx, dir, slices.Concat(first...)); err != nil {
			return err
		}
	}
	return nil
}

// named tells whether a directory comes as the one above names it. Even the sha256 of nothing is not zero.
func named(dir *tree.Entry) bool { return dir.SHA256 != tree.SHA256{} }

// firstKeys are where a node starts: at one key if it is known whether it is cut, else at one of two.
func (n *Nodes) firstKeys(dir *tree.Entry) []string {
	key := n.chain.TreeKey(dir.OID)
	cut := chunkKey(key, tree.ChunkSize+1, 0)
	switch {
	case !named(dir):
		return []string{key, cut}
	case dir.Size > tree.ChunkSize:
		return []string{cut}
	}
	return []string{key}
}

// loadOne takes in a node, or reads the rest of it. first is its first key, and perhaps that of another cut.
func (n *Nodes) loadOne(ctx context.Context, dir *tree.Entry, first []KeyValue) error {
	if len(first) == 0 {
		return nil
	}
	key, data := n.chain.TreeKey(dir.OID), first[0].Value
	switch {
	case len(data) > tree.ChunkSize:
		n.broken[dir.OID] = fmt.Sprintf("a chunk has %d bytes", len(data))
		return nil
	case first[0].Key == key:
		return n.parse(ctx, dir, data)
	}
	limit := tree.MaxNode
	if named(dir) {
		limit = int(min(int64(limit), dir.Size))
	}
	// The last chunk is the first that is not full, or that is missing.
	for i := 1; len(data) == i*tree.ChunkSize && len(data) < limit; i++ {
		found, err := n.chain.readKeys(ctx, []string{chunkKey(key, tree.ChunkSize+1, int64(i))})
		if err != nil {
			return err
		}
		if len(found[0]) > 0 {
			data = append(data, found[0][0].Value...)
		} else if named(dir) {
			return nil // it was deleted perhaps while it was read
		}
	}
	return n.parse(ctx, dir, data)
}

// parse keeps a node that was read, if it is what its oid names, and of the size that the directory above names.
func (n *Nodes) parse(ctx context.Context, dir *tree.Entry, data []byte) error {
	if named(dir) && int64(len(data)) != dir.Size {
		n.broken[dir.OID] = fmt.Sprintf("%d bytes are there, %d were deployed", len(data), dir.Size)
		return nil
	}
	if err := n.take(ctx, nodeMemory+tree.NodeMemory(data)); err != nil {
		return err
	}
	node, err := tree.ParseNode(data)
	if err == nil && node.OID(dir.OID.Format()) != dir.OID {
		err = fmt.Errorf("its tree oid is %s", node.OID(dir.OID.Format()))
	}
	if err != nil {
		n.broken[dir.OID] = err.Error() // or chunks of which the last ones were never written
		return nil
	}
	n.Add(dir.OID, node, data)
	return nil
}

// Add makes a node known; text is its text.
func (n *Nodes) Add(oid tree.OID, node *tree.Node, text []byte) {
	entry := tree.Entry{Mode: dirMode, OID: oid, Size: int64(len(text)), SHA256: sha256.Sum256(text)}
	n.known[oid] = knownNode{node, entry}
}

// AddOpen makes a node known that lacks a sha256 somewhere below it: its entry has a size, and no sha256 either.
func (n *Nodes) AddOpen(oid tree.OID, node *tree.Node, size int64) {
	n.known[oid] = knownNode{node, tree.Entry{Mode: dirMode, OID: oid, Size: size}}
}

// Distrust forgets a node that is not the one that was deployed: what it says of its entries would be signed again.
func (n *Nodes) Distrust(deployed tree.Entry) {
	if known, ok := n.known[deployed.OID]; ok && !sameText(&known.entry, &deployed) {
		delete(n.known, deployed.OID)
		n.broken[deployed.OID] = "it is not what was deployed"
	}
}

// sameText tells whether two entries are of a directory with the same text.
func sameText(a, b *tree.Entry) bool { return a.Size == b.Size && a.SHA256 == b.SHA256 }

// Get gives a known node; of one that Load left unknown it says what is wrong with it.
func (n *Nodes) Get(oid tree.OID) (*tree.Node, error) {
	if node := n.Node(oid); node != nil {
		return node, nil
	}
	what := n.broken[oid]
	if what == "" {
		return nil, record.Missing(n.chain.TreeKey(oid)) // or cut short, which is as bad
	}
	return nil, record.Corrupt(n.chain.TreeKey(oid), what)
}

// loadVerified loads directories' nodes, and checks that each has the size and sha256 that leads to it.
func (n *Nodes) loadVerified(ctx context.Context, dirs ...*tree.Entry) error {
	if err := n.Load(ctx, dirs); err != nil {
		return err
	}
	for _, dir := range dirs {
		if _, err := n.Entries(dir); err != nil {
			return err
		}
	}
	return nil
}

// Entries gives the entries of a directory that was loaded, and checks that it is what the directory above, or the
// record, names. Where there is none (nil), there are no entries.
func (n *Nodes) Entries(dir *tree.Entry) ([]tree.Entry, error) {
	if dir == nil {
		return nil, nil
	}
	switch known, ok := n.known[dir.OID]; {
	case !ok:
		_, err := n.Get(dir.OID)
		return nil, err
	case !sameText(&known.entry, dir):
		what := fmt.Sprintf("%d bytes of sha256 %s are there, %d of %s were deployed",
			known.entry.Size, known.entry.SHA256, dir.Size, dir.SHA256)
		return nil, record.Corrupt(n.chain.TreeKey(dir.OID), what)
	default:
		return known.node.Entries, nil
	}
}

// LoadBelow loads a directory and all directories below it, and checks that each is what the one above names.
func (n *Nodes) LoadBelow(ctx context.Context, root tree.Entry) error {
	seen := map[tree.OID]bool{root.OID: true}
	for level := []*tree.Entry{&root}; len(level) > 0; {
		if err := n.loadVerified(ctx, level...); err != nil {
			return err
		}
		var next []*tree.Entry
		for _, dir := range level {
			entries := n.Node(dir.OID).Entries
			for i := range entries {
				if e := &entries[i]; e.Mode == dirMode && !seen[e.OID] {
					seen[e.OID] = true
					next = append(next, e)
				}
			}
		}
		level = next
	}
	return nil
}

// Kept gives Nodes of the chain that know no more than a directory and those below it, as far as others know them, and
// have a bound of their own: for a next deploy, which shares most of them.
func (c *Chain) Kept(ctx context.Context, others *Nodes, root tree.Entry) *Nodes {
	kept := c.NewNodes()
	for level := []tree.OID{root.OID}; len(level) > 0; {
		var next []tree.OID
		for _, oid := range level {
			known, ok := others.known[oid]
			if _, has := kept.known[oid]; !ok || has {
				continue
			}
			takes := nodeMemory + known.entry.Size + int64(len(known.node.Entries))*tree.EntryMemory
			if kept.take(ctx, takes) != nil {
				continue // it is read again where it is needed
			}
			kept.known[oid] = known
			for _, e := range known.node.Entries {
				if e.Mode == dirMode {
					next = append(next, e.OID)
				}
			}
		}
		level = next
	}
	return kept
}
