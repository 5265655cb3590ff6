package plan

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// What a plan takes in memory, in bytes, rounded up: see share.
const (
	dirMemory   = 800                  // a directory, beside its entries
	entryMemory = tree.EntryMemory + 8 // an entry, beside its name and its part of the git tree that the name is of
	fileMemory  = 400                  // a content
)

// dirsAtOnce is how many directories are asked for together.
const dirsAtOnce = 1000

// dirPlan is a directory that etcd perhaps has no node of.
type dirPlan struct {
	oid    tree.OID
	place  *place      // one of its places
	prev   *tree.Entry // the directory at this place in the head's tree, or nil
	node   *tree.Node  // nil: etcd has it
	laid   bool        // what is in it was planned
	height int         // 1 + that of the highest planned directory below; 0: not finished
}

// place is a path, put together only where it is told: those of a large tree would not fit into memory.
type place struct {
	up   *place // nil: the name is the whole path
	name string
}

func (p *place) String() string {
	if p.up == nil {
		return p.name
	}
	return path.Join(p.up.String(), p.name)
}

// words name a directory.
func (p *place) words() string {
	if where := p.String(); where != "" {
		return fmt.Sprintf("directory %q", where)
	}
	return "the tree's root"
}

// occurrence is a directory in one level of the tree, wherever it occurs there.
type occurrence struct {
	*dirPlan
	times  int
	place  *place // with the longest path
	length int    // of that path
}

// treePlan is the state of planTree.
type treePlan struct {
	*Plan
	plans []*dirPlan               // those that etcd has no node of
	byOID map[tree.OID]*dirPlan    // all that were met
	read  int                      // entries of plans
	paths int                      // entries of plans, as often as they occur
	depth int                      // of the entries of the level's directories
	next  []*occurrence            // the next level
	index map[*dirPlan]*occurrence // of it
}

// planTree walks the tree from the root, a level at a time, and stops wherever etcd has the node already. It gives
// the directories to be written, in the order of the walk. Each is read once, and counts wherever it occurs: as soon as
// there are too many files and directories, nothing more is read.
func (p *Plan) planTree(ctx context.Context) ([]*dirPlan, error) {
	root := &dirPlan{oid: p.task.Root, place: new(place)}
	// Force trusts nothing of the head: it may have been signed over a node that somebody had altered.
	if head := p.task.Head; head != nil && !p.task.Distrust {
		prev := head.Root()
		root.prev = &prev
	}
	t := &treePlan{Plan: p, byOID: map[tree.OID]*dirPlan{root.oid: root}}
	fresh, level := []*dirPlan{root}, []*occurrence{{dirPlan: root, times: 1, place: root.place}}
	for t.depth = 1; len(level) > 0; t.depth++ {
		for some := range slices.Chunk(fresh, dirsAtOnce) {
			if err := t.readDirs(ctx, some); err != nil {
				return nil, err
			}
		}
		t.next, t.index, fresh = nil, map[*dirPlan]*occurrence{}, nil
		for _, o := range level {
			below, err := t.layDir(ctx, o)
			if err != nil {
				return nil, err
			}
			fresh = append(fresh, below...)
		}
		level = t.next
	}
	return t.plans, nil
}

// readDirs reads directories from the job's source, except those that the head has at the same place: the head's record
// vouches for what is in etcd of these, and of no others.
func (t *treePlan) readDirs(ctx context.Context, fresh []*dirPlan) error {
	var dirs []*tree.Entry
	for _, d := range fresh {
		if d.prev != nil {
			dirs = append(dirs, d.prev)
		}
	}
	if err := t.nodes.Load(ctx, dirs); err != nil {
		return err
	}
	for _, d := range fresh {
		if d.prev != nil {
			t.nodes.Distrust(*d.prev)
		}
	}
	var lacking []*dirPlan
	var oids []tree.OID
	for _, d := range fresh {
		if t.nodes.Node(d.oid) == nil {
			lacking, oids = append(lacking, d), append(oids, d.oid)
		}
	}
	at, own := 0, error(nil)
	err := t.task.Source.Trees(ctx, oids, func(i int, entries []tree.Entry) error {
		at, own = i+1, t.readDir(ctx, lacking[i], entries)
		return own
	})
	if err == nil || own != nil || at == len(lacking) {
		return err
	}
	return fmt.Errorf("read %s: %w", lacking[at].place.words(), err)
}

// readDir takes in a directory that is to be written.
func (t *treePlan) readDir(ctx context.Context, d *dirPlan, entries []tree.Entry) error {
	if t.read += len(entries); t.read > store.MaxPaths {
		return store.CheckCount(t.read)
	}
	size := 0
	for i := range entries {
		size += len("100644 \x00") + len(entries[i].Name) + len(entries[i].OID.Bytes())
	}
	if size > tree.MaxTree { // a plain directory: git has refused it
		return fault.Refuse("spread them over several directories",
			"%s has %d entries, of %d bytes as a git tree (limit %d)", d.place.words(), len(entries), size, tree.MaxTree)
	}
	if err := t.share.take(ctx, dirMemory+int64(size+len(entries)*entryMemory)); err != nil {
		return err
	}
	d.node = &tree.Node{Entries: entries}
	t.plans = append(t.plans, d)
	return nil
}

// layDir counts what is in a directory of the level. The first time it plans all of that, too, and gives the
// directories that were not met before.
func (t *treePlan) layDir(ctx context.Context, o *occurrence) (fresh []*dirPlan, err error) {
	if o.node == nil {
		return nil, nil
	}
	if t.paths += o.times * len(o.node.Entries); t.paths > store.MaxPaths {
		return nil, store.CheckCount(t.paths)
	}
	if !o.laid {
		o.laid = true
		if fresh, err = t.layEntries(ctx, o.dirPlan); err != nil {
			return nil, err
		}
	}
	for i := range o.node.Entries {
		e := &o.node.Entries[i]
		length := o.length + min(o.length, 1) + len(e.Name)
		if err := store.CheckPath(e.Name, length, t.depth, (&place{o.place, e.Name}).String); err != nil {
			return nil, err
		}
		if below := t.byOID[e.OID]; e.Mode == filemode.Dir && below != nil {
			t.occurs(below, o, e.Name, length)
		}
	}
	return fresh, nil
}

// occurs puts a directory into the next level, or counts it there once more.
func (t *treePlan) occurs(d *dirPlan, up *occurrence, name string, length int) {
	o := t.index[d]
	if o == nil {
		o = &occurrence{dirPlan: d}
		t.next, t.index[d] = append(t.next, o), o
	}
	if o.times += up.times; o.place == nil || length > o.length {
		o.place, o.length = &place{up.place, name}, length
	}
}

// layEntries plans what is in a directory. What the head's directory names, too, has its size and sha256 from there.
func (t *treePlan) layEntries(ctx context.Context, d *dirPlan) (fresh []*dirPlan, err error) {
	known, dirs := t.inHead(d)
	for i := range d.node.Entries {
		e := &d.node.Entries[i]
		if k := known[e.OID]; k != nil && sameKind(k.Mode, e.Mode) {
			e.Size, e.SHA256 = k.Size, k.SHA256
			continue
		}
		at := place{d.place, e.Name}
		switch {
		case e.Mode == filemode.Submodule:
		case e.Mode != filemode.Dir:
			err = t.planContent(ctx, e.OID, at, e.Mode == filemode.Symlink)
		case t.byOID[e.OID] == nil:
			below := &dirPlan{oid: e.OID, place: &at, prev: dirs[e.Name]}
			t.byOID[e.OID], fresh = below, append(fresh, below)
		}
		if err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// inHead gives what the head has at a directory's place: everything by oid, and the directories by name.
func (t *treePlan) inHead(d *dirPlan) (known map[tree.OID]*tree.Entry, dirs map[string]*tree.Entry) {
	if d.prev == nil || t.nodes.Node(d.prev.OID) == nil {
		return nil, nil
	}
	prev := t.nodes.Node(d.prev.OID).Entries
	known, dirs = make(map[tree.OID]*tree.Entry, len(prev)), map[string]*tree.Entry{}
	for i := range prev {
		e := &prev[i]
		if e.Mode == filemode.Dir {
			dirs[e.Name] = e
		}
		if e.Mode != filemode.Submodule {
			known[e.OID] = e
		}
	}
	return known, dirs
}

// sameKind tells whether what is known of an entry holds for one of another mode. A file that became a link has the
// same content, and must be looked at all the same.
func sameKind(known, mode filemode.FileMode) bool {
	file := func(m filemode.FileMode) bool { return m == filemode.Regular || m == filemode.Executable }
	return known == mode || file(known) && file(mode)
}

// layLevels sorts the planned nodes by height.
func (p *Plan) layLevels(plans []*dirPlan) {
	byOID := make(map[tree.OID]*dirPlan, len(plans))
	for _, d := range plans {
		byOID[d.oid] = d
	}
	for _, d := range plans {
		p.layLevel(d, byOID)
	}
}

// layLevel sorts the planned directories below d in, then d; the same directory may lie in many.
func (p *Plan) layLevel(d *dirPlan, plans map[tree.OID]*dirPlan) {
	if d.height > 0 {
		return
	}
	d.height = 1
	for i := range d.node.Entries {
		e := &d.node.Entries[i]
		if below := plans[e.OID]; e.Mode == filemode.Dir && below != nil && isUnknown(e) {
			p.layLevel(below, plans)
			d.height = max(d.height, below.height+1)
		}
	}
	for len(p.levels) < d.height {
		p.levels = append(p.levels, nil)
	}
	p.levels[d.height-1] = append(p.levels[d.height-1], plannedNode{d.oid, d.node})
}

// plannedNode is a directory to be written.
type plannedNode struct {
	oid  tree.OID
	node *tree.Node
}

func isUnknown(e *tree.Entry) bool { return e.Mode != filemode.Submodule && e.SHA256 == tree.SHA256{} }

// fillNodes fills in sizes and sha256s from the bottom up. A node stays open as long as a content below it was not
// read: fillNodes is called again when it was.
func (p *Plan) fillNodes() {
	for _, level := range p.levels {
		for _, d := range level {
			p.fillNode(d)
		}
	}
	p.Root = p.nodes.Entry(p.task.Root)
}

func (p *Plan) fillNode(d plannedNode) {
	isOpen := false
	for i := range d.node.Entries {
		e := &d.node.Entries[i]
		if !isUnknown(e) {
			continue
		}
		if e.Mode == filemode.Dir {
			known := p.nodes.Entry(e.OID)
			e.Size, e.SHA256 = known.Size, known.SHA256
		} else {
			c := p.contents[e.OID]
			e.Size, e.SHA256 = c.size, c.sum
		}
		isOpen = isOpen || isUnknown(e)
	}
	text := d.node.Text()
	if isOpen {
		p.nodes.AddOpen(d.oid, d.node, int64(len(text)))
	} else {
		p.nodes.Add(d.oid, d.node, text)
	}
}

// findNodes leaves out the planned nodes that etcd has, byte by byte, and counts the others. As long as some are open
// it counts them all.
func (p *Plan) findNodes(ctx context.Context) error {
	if p.late != nil || p.isAlone {
		p.countNodes(1)
		return nil
	}
	levels := make([][]plannedNode, len(p.levels))
	for i, level := range p.levels {
		for some := range slices.Chunk(level, dirsAtOnce) {
			var dirs []*tree.Entry
			for _, d := range some {
				e := p.nodes.Entry(d.oid)
				dirs = append(dirs, &e)
			}
			there := p.task.Chain.NewNodes()
			if err := there.Load(ctx, dirs); err != nil {
				return err
			}
			for j, e := range dirs {
				if there.Entry(e.OID) == *e {
					p.isThere(store.ChunkKeys(p.task.Chain.TreeKey(e.OID), e.Size)...)
					continue
				}
				levels[i] = append(levels[i], some[j])
			}
		}
	}
	p.levels = levels
	p.countNodes(1)
	return nil
}

// countNodes counts the nodes to be stored; times is -1 if they are to be counted anew.
func (p *Plan) countNodes(times int) {
	for _, level := range p.levels {
		for _, d := range level {
			size := p.nodes.Entry(d.oid).Size
			p.NewBytes += int64(times) * size
			p.Keys += times * len(store.ChunkKeys("", size))
		}
	}
}
