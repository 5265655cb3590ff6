package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/tree"
)

const dirMode = filemode.Dir

// nodesPerRead keeps one answer small: a node can be as large as a chunk, or many chunks.
const nodesPerRead = 32

// Nodes reads tree nodes and keeps them, each is read at most once.
type Nodes struct {
	chain  *Chain
	known  map[tree.OID]knownNode
	broken map[tree.OID]string // what is wrong with a node that is there
}

type knownNode struct {
	node  *tree.Node
	entry tree.Entry // its oid, and size and sha256 of its text
}

// NewNodes gives Nodes that know none yet.
func (c *Chain) NewNodes() *Nodes {
	return &Nodes{chain: c, known: map[tree.OID]knownNode{}, broken: map[tree.OID]string{}}
}

// Node gives a directory's node, nil if it is not known.
func (n *Nodes) Node(oid tree.OID) *tree.Node { return n.known[oid].node }

// Entry gives a directory as the one above names it: its oid, and size and sha256 of its node's text; zero if it is
// not known.
func (n *Nodes) Entry(oid tree.OID) tree.Entry { return n.known[oid].entry }

// Load reads those of the nodes that are not known yet. A node that is missing, incomplete or broken stays unknown:
// a reader reports it (Unknown), and a deploy that has the directory writes it again.
func (n *Nodes) Load(ctx context.Context, oids []tree.OID) error {
	var missing []tree.OID
	asked := map[tree.OID]bool{}
	for _, oid := range oids {
		if n.Node(oid) == nil && !asked[oid] {
			asked[oid] = true
			missing = append(missing, oid)
		}
	}
	for batch := range slices.Chunk(missing, nodesPerRead) {
		queries := make([]Query, len(batch))
		for i, oid := range batch {
			queries[i] = Query{Key: n.chain.TreeKey(oid), Chunks: true}
		}
		found, _, err := n.chain.reader.Read(ctx, 0, queries)
		if err != nil {
			return fmt.Errorf("read trees of %s: %w", n.chain.ns, err)
		}
		for i, oid := range batch {
			n.parse(oid, found[i])
		}
	}
	return nil
}

// parse keeps a node that was read, if all of it is there.
func (n *Nodes) parse(oid tree.OID, found []KeyValue) {
	text, whole := joinChunks(n.chain.TreeKey(oid), found)
	if !whole {
		return
	}
	node, err := tree.ParseNode(text)
	if err == nil && node.OID() != oid {
		err = fmt.Errorf("its tree oid is %s", node.OID())
	}
	if err != nil {
		n.broken[oid] = err.Error() // or chunks of which the last ones were never written
		return
	}
	n.Add(oid, node, text)
}

// Add makes a node known; text is its text.
func (n *Nodes) Add(oid tree.OID, node *tree.Node, text []byte) {
	entry := tree.Entry{Mode: dirMode, OID: oid, Size: int64(len(text)), SHA256: sha256.Sum256(text)}
	n.known[oid] = knownNode{node, entry}
}

// Distrust forgets a node that is not the one that was deployed: what it says of its entries would be signed again.
func (n *Nodes) Distrust(deployed tree.Entry) {
	if known, ok := n.known[deployed.OID]; ok && !sameText(known.entry, deployed) {
		delete(n.known, deployed.OID)
		n.broken[deployed.OID] = "it is not what was deployed"
	}
}

// sameText tells whether two entries are of a directory with the same text.
func sameText(a, b tree.Entry) bool { return a.Size == b.Size && a.SHA256 == b.SHA256 }

// Unknown says what is wrong with a node that Load left unknown.
func (n *Nodes) Unknown(oid tree.OID) error {
	what := n.broken[oid]
	if what == "" {
		what = "it is missing or incomplete"
	}
	return record.Corrupt(n.chain.TreeKey(oid), what)
}

// joinChunks puts a value together from its keys; false if there are none, or one between others is missing.
func joinChunks(key string, found []KeyValue) (text []byte, whole bool) {
	if len(found) == 1 && found[0].Key == key {
		return found[0].Value, true
	}
	index := func(kv KeyValue) int {
		i, err := strconv.Atoi(strings.TrimPrefix(kv.Key, key+"/"))
		if err != nil {
			return -1
		}
		return i
	}
	slices.SortFunc(found, func(a, b KeyValue) int { return index(a) - index(b) })
	for i, kv := range found {
		if index(kv) != i {
			return nil, false
		}
		text = append(text, kv.Value...)
	}
	return text, len(found) > 0
}

// loadVerified loads directories' nodes, and checks that each has the size and sha256 that leads to it.
func (n *Nodes) loadVerified(ctx context.Context, dirs []tree.Entry) error {
	oids := make([]tree.OID, len(dirs))
	for i, e := range dirs {
		oids[i] = e.OID
	}
	if err := n.Load(ctx, oids); err != nil {
		return err
	}
	for _, e := range dirs {
		if _, err := n.entries(e); err != nil {
			return err
		}
	}
	return nil
}

// entries gives the entries of a directory that was loaded, and checks that it is what the directory above, or the
// record, names.
func (n *Nodes) entries(dir tree.Entry) ([]tree.Entry, error) {
	switch known, ok := n.known[dir.OID]; {
	case !ok:
		return nil, n.Unknown(dir.OID)
	case !sameText(known.entry, dir):
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
	for level := []tree.Entry{root}; len(level) > 0; {
		if err := n.loadVerified(ctx, level); err != nil {
			return err
		}
		var next []tree.Entry
		for _, dir := range level {
			for _, e := range n.Node(dir.OID).Entries {
				if e.Mode == dirMode && !seen[e.OID] {
					seen[e.OID] = true
					next = append(next, e)
				}
			}
		}
		if len(seen) > maxDirs {
			return tooLarge(fmt.Sprintf("%d directories", maxDirs))
		}
		level = next
	}
	return nil
}
