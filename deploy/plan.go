package deploy

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// maxName is the longest name that a Linux file system holds, in bytes: what no node could check out is refused.
const maxName = 255

// dirPlan is a directory that etcd has no node of.
type dirPlan struct {
	oid    tree.OID
	path   string
	prev   tree.Entry // the directory of the same path in the head's tree, or zero
	node   *tree.Node
	height int // 1 + that of the highest planned directory below; 0: not finished
}

// planTree walks the tree from the root, a level at a time, and stops wherever etcd has the node already. It gives
// the directories to be written, in the order of the walk.
func (p *Prepared) planTree(ctx context.Context) ([]*dirPlan, error) {
	root := &dirPlan{oid: p.Verdict.tree}
	if head := p.Verdict.Head; head != nil && head.Record != nil {
		root.prev = head.Record.Root()
	}
	var plans []*dirPlan
	seen := map[tree.OID]bool{root.oid: true}
	for level := []*dirPlan{root}; len(level) > 0; {
		var oids []tree.OID
		for _, d := range level {
			oids = append(oids, d.oid)
			if !d.prev.OID.IsZero() {
				oids = append(oids, d.prev.OID)
			}
		}
		if err := p.nodes.Load(ctx, oids); err != nil {
			return nil, err
		}
		for _, d := range level {
			p.nodes.Distrust(d.prev)
		}
		var next []*dirPlan
		for _, d := range level {
			if p.nodes.Node(d.oid) != nil {
				continue
			}
			plans = append(plans, d)
			below, err := p.planDir(d, seen)
			if err != nil {
				return nil, err
			}
			next = append(next, below...)
		}
		level = next
	}
	return plans, nil
}

// planDir reads one directory from its source. What the head's directory names, too, has its size and sha256 from
// there; the rest is planned.
func (p *Prepared) planDir(d *dirPlan, seen map[tree.OID]bool) ([]*dirPlan, error) {
	entries, err := p.job.Source().Tree(d.oid)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", d.path, err)
	}
	var known map[tree.OID]*tree.Entry
	dirs := map[string]tree.Entry{}
	if prev := p.nodes.Node(d.prev.OID); prev != nil {
		known = make(map[tree.OID]*tree.Entry, len(prev.Entries))
		for i := range prev.Entries {
			e := &prev.Entries[i]
			if e.Mode == filemode.Dir {
				dirs[e.Name] = *e
			}
			if e.Mode != filemode.Submodule {
				known[e.OID] = e
			}
		}
	}
	d.node = &tree.Node{Entries: slices.Clone(entries)}
	var below []*dirPlan
	for i, e := range entries {
		where := path.Join(d.path, e.Name)
		if len(e.Name) > maxName || len(where) > record.MaxPath {
			return nil, badName(where, p.job.afterChange())
		}
		entry := &d.node.Entries[i]
		if k := known[e.OID]; k != nil && sameKind(k.Mode, e.Mode) {
			entry.Size, entry.SHA256 = k.Size, k.SHA256
			continue
		}
		switch {
		case e.Mode == filemode.Submodule:
		case e.Mode == filemode.Dir:
			if !seen[e.OID] {
				seen[e.OID] = true
				below = append(below, &dirPlan{oid: e.OID, path: where, prev: dirs[e.Name]})
			}
		default:
			p.planContent(e.OID, where, e.Mode == filemode.Symlink)
		}
	}
	return below, nil
}

// badName refuses a path that is too long, or whose last element is.
func badName(where, then string) error {
	what := fmt.Sprintf("path %q is %d bytes (limit %d)", text.Clip(where), len(where), record.MaxPath)
	if name := path.Base(where); len(name) > maxName {
		what = fmt.Sprintf("%q: name is %d bytes (limit %d)", text.Clip(where), len(name), maxName)
	}
	return fault.New(fault.Refused, what, "shorten the name, "+then)
}

// sameKind tells whether what is known of an entry holds for one of another mode. A file that became a link has the
// same content, and must be looked at all the same.
func sameKind(known, mode filemode.FileMode) bool {
	file := func(m filemode.FileMode) bool { return m == filemode.Regular || m == filemode.Executable }
	return known == mode || file(known) && file(mode)
}

// finishNodes fills in sizes and sha256s from the bottom up and sorts the planned nodes by height.
func (p *Prepared) finishNodes(plans []*dirPlan) {
	byOID := make(map[tree.OID]*dirPlan, len(plans))
	for _, d := range plans {
		byOID[d.oid] = d
	}
	for _, d := range plans {
		p.finishNode(d, byOID)
	}
	p.root = p.nodes.Entry(p.Verdict.tree)
}

// finishNode finishes the planned directories below d, then d; the same directory may lie in many.
func (p *Prepared) finishNode(d *dirPlan, plans map[tree.OID]*dirPlan) {
	if d.height > 0 {
		return
	}
	d.height = 1
	for i := range d.node.Entries {
		e := &d.node.Entries[i]
		switch {
		case e.Mode == filemode.Submodule, e.SHA256 != tree.SHA256{}: // nothing to know, or known
		case e.Mode == filemode.Dir:
			if below := plans[e.OID]; below != nil {
				p.finishNode(below, plans)
				d.height = max(d.height, below.height+1)
			}
			known := p.nodes.Entry(e.OID)
			e.Size, e.SHA256 = known.Size, known.SHA256
		default:
			c := p.contents[e.OID]
			e.Size, e.SHA256 = c.size, c.sum
		}
	}
	data := d.node.Text()
	p.nodes.Add(d.oid, d.node, data)
	for len(p.levels) < d.height {
		p.levels = append(p.levels, nil)
	}
	p.levels[d.height-1] = append(p.levels[d.height-1], d.oid)
	p.NewBytes += int64(len(data))
	p.keys += len(store.ChunkKeys("", int64(len(data))))
}
