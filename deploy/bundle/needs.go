package bundle

import (
	"context"
	"errors"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// needs are keys, each with how many bytes its value has.
type needs map[string]int64

// needsFinder finds the keys that have deploys' files.
type needsFinder struct {
	chain *store.Chain
	needs needs
	seen  map[tree.OID]bool // nodes
}

// findNeeds finds the keys of superblocks, nodes and contents of a header's deploys, and of pinned ones. What is
// missing or damaged is passed over: a reader of the bundle is told.
func findNeeds(ctx context.Context, chain *store.Chain, h *Header) (needs, error) {
	n := &needsFinder{chain: chain, needs: needs{}, seen: map[tree.OID]bool{}}
	pins := map[record.ID]bool{}
	err := chain.Scan(ctx, "/refship/"+record.PinPrefix, true, func(kv store.KeyValue) {
		if id, ok := record.PinnedID(strings.TrimPrefix(kv.Key, chain.Key(""))); ok {
			pins[id] = true
		}
	})
	if err != nil {
		return nil, err
	}
	left := len(pins)
	enough := errors.New("no more is asked for")
	err = chain.Down(ctx, h.Head, func(d *record.Deploy) error {
		switch {
		case pins[d.ID]:
			left--
		case d.ID < h.Since && left == 0:
			return enough
		case d.ID < h.Since:
			return nil
		}
		return n.deploy(ctx, d)
	})
	if err != nil && !errors.Is(err, enough) {
		return nil, passOver(err)
	}
	return n.needs, nil
}

// passOver gives an error, unless it says that something in the chain is damaged.
func passOver(err error) error {
	if fault.Is(err, fault.Corrupt) && !errors.Is(err, ErrDamaged) {
		return nil
	}
	return err
}

func (n *needsFinder) deploy(ctx context.Context, d *record.Deploy) error {
	if d.Record != nil {
		if err := n.tree(ctx, d.Record.Root()); err != nil {
			return err
		}
	}
	return n.payload(ctx, d)
}

// nodesAtOnce is how many nodes are in memory at a time.
const nodesAtOnce = 32

// tree finds what a tree needs, a level at a time, each node once.
func (n *needsFinder) tree(ctx context.Context, root tree.Entry) error {
	for level := []tree.Entry{root}; len(level) > 0; {
		var next []tree.Entry
		var batch []*tree.Entry
		for i := range level {
			if e := &level[i]; !n.seen[e.OID] {
				n.seen[e.OID] = true
				batch = append(batch, e)
			}
			if len(batch) < nodesAtOnce && i < len(level)-1 {
				continue
			}
			below, err := n.nodes(ctx, batch)
			if err != nil {
				return err
			}
			next, batch = append(next, below...), nil
		}
		level = next
	}
	return nil
}

// nodes finds what nodes name, and gives the directories among it.
func (n *needsFinder) nodes(ctx context.Context, dirs []*tree.Entry) (below []tree.Entry, err error) {
	nodes := n.chain.NewNodesWithin(func(context.Context, int64) error { return nil })
	if err := nodes.Load(ctx, dirs); err != nil {
		return nil, passOver(err)
	}
	for _, dir := range dirs {
		n.add(n.chain.TreeKey(dir.OID), dir.Size)
		entries, err := nodes.Entries(dir)
		if err := passOver(err); err != nil {
			return nil, err
		}
		for _, e := range entries {
			switch e.Mode {
			case filemode.Dir:
				e.Name = "" // it would hold the names of all in memory
				below = append(below, e)
			case filemode.Submodule:
			default:
				n.add(n.chain.ContentKey(e.SHA256), e.Size)
			}
		}
	}
	return below, nil
}

// add adds the keys of a value, which is in chunks if it is long.
func (n *needsFinder) add(key string, size int64) {
	for at := range store.Chunks(key, size) {
		n.needs[at] = min(size, tree.ChunkSize)
	}
}

// payload finds what mgmt reads of a deploy: the superblock that its payload names, and the contents that this lists,
// each at one key.
func (n *needsFinder) payload(ctx context.Context, d *record.Deploy) error {
	values, err := n.chain.Values(ctx, n.chain.DeployKey(d.ID, record.KeyPayload))
	if err != nil || values[0].Revision == 0 {
		return err
	}
	payload, err := mgmt.DecodePayload(values[0].Value)
	if err != nil || !payload.HasFiles() {
		return nil //nolint:nilerr // mgmt could not read it either
	}
	key := string(n.chain.Namespace()) + payload.SuperblockPath()
	if _, done := n.needs[key]; done { // a rollback has that of another deploy
		return nil
	}
	n.needs[key] = unknownSize
	values, err = n.chain.Values(ctx, key)
	if err != nil || values[0].Revision == 0 {
		return err
	}
	root, err := mgmt.DecodeSuperblock(values[0].Value)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	n.files(root)
	return nil
}

func (n *needsFinder) files(f *mgmt.File) {
	if !f.Mode.IsDir() {
		if key := n.chain.ContentKey(f.SHA256); n.needs[key] == 0 {
			n.needs[key] = unknownSize
		}
	}
	for _, child := range f.Children {
		n.files(child)
	}
}
