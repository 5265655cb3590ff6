package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// keepBytes is how much new content one Prepared keeps in memory between reading and storing it; what is beyond is
// read a second time.
const keepBytes = 32 << 20

// maxName is what a Linux file system can hold, in bytes: a deploy that no node could check out is refused.
const maxName = 255

// maxObjects bounds what one deploy's commits hold in memory, in bytes: 10,000 of the usual kind have 5 MiB.
const maxObjects = 64 << 20

// maxLink is the longest target of a symbolic link, in bytes: Linux's PATH_MAX without its NUL.
const maxLink = 4095

// Prepared is a job whose tree was read and compared with etcd under the lock. Nothing is written yet.
type Prepared struct {
	Verdict     *Verdict
	Files       int             // files and links in the tree
	Changed     int             // files and links added, modified or deleted since the head; all, if that is foreign
	Added       int             // of Changed
	Modified    int             // of Changed: another content or mode, or a file that became a link
	Deleted     int             // of Changed
	Listed      []store.Change  // the first 1,000 of the changes, sorted by path
	NewContents int             // contents that etcd lacks
	NewBytes    int64           // bytes to store: contents, nodes, commits
	Submodules  []string        // paths of changed submodules: recorded, and not deployed
	Frontend    record.Frontend // the job's, or what Auto has picked
	Entry       string          // the file that mgmt starts with; "" if it is not mgmt's

	chain    *Chain
	lock     *Lock
	job      *Job
	nodes    *store.Nodes
	root     tree.Entry
	levels   [][]plumbing.Hash // planned nodes, the root's level first
	contents map[plumbing.Hash]*content
	planned  []*content        // the same in the order of the walk, in which git has packed them
	missing  []*content        // that etcd lacks
	objects  map[string][]byte // raw git objects that etcd lacks, by key
	payload  []byte            // what mgmt reads, with mgmt's frontends
	block    superblock
	keys     int // how many keys Upload writes
}

// content is a blob that the head's tree does not name.
type content struct {
	oid  plumbing.Hash
	size int64
	sum  tree.SHA256
	link bool   // a symbolic link's target
	path string // one of its places
	kept []byte // nil: to be read again
	// uncut: the content stands at one key whatever its size, beside the chunks that refship reads. mgmt reads no chunks.
	uncut bool
}

// keys are the keys that the content stands at.
func (c *content) keys(chain *Chain) []string {
	if c.uncut {
		return []string{chain.ContentKey(c.sum)}
	}
	return store.ChunkKeys(chain.ContentKey(c.sum), c.size)
}

// Prepare checks the job again, now under the lock, reads what changed and finds out what etcd lacks. What can not be
// deployed is refused here, before anything is written. If Verdict's Already or Same is set, nothing was read. Without
// a lock (nil) it tells what a deploy would do, and the Prepared can neither be uploaded nor published.
func (c *Chain) Prepare(ctx context.Context, lock *Lock, job *Job, progress func(text.Progress)) (*Prepared, error) {
	v, err := c.Check(ctx, job)
	if err != nil {
		return nil, err
	}
	p := &Prepared{
		Verdict: v, Frontend: job.Frontend, chain: c, lock: lock, job: job, nodes: c.NewNodes(),
		contents: map[plumbing.Hash]*content{}, objects: map[string][]byte{},
	}
	if v.Idle() {
		return p, nil
	}
	plans, err := p.planTree(ctx)
	if err != nil {
		return nil, refuseTree(err)
	}
	if err := p.readContents(ctx, progress); err != nil {
		return nil, refuseTree(err)
	}
	p.finishNodes(plans)
	for _, step := range []func(context.Context) error{p.layForMgmt, p.findMissing, p.readObjects, p.countFiles} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// dirPlan is a directory that etcd has no node of.
type dirPlan struct {
	oid    plumbing.Hash
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
	seen := map[plumbing.Hash]bool{root.oid: true}
	for level := []*dirPlan{root}; len(level) > 0; {
		var oids []plumbing.Hash
		for _, d := range level {
			oids = append(oids, d.oid)
			if !d.prev.OID.IsZero() {
				oids = append(oids, d.prev.OID)
			}
		}
		if err := p.nodes.Load(ctx, oids); err != nil {
			return nil, err
		}
		var next []*dirPlan
		for _, d := range level {
			p.nodes.Distrust(d.prev)
		}
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

// planDir reads one directory from git, or as the plain one was read: what the head's directory names has its size and sha256 from there, the rest
// is planned.
func (p *Prepared) planDir(d *dirPlan, seen map[plumbing.Hash]bool) ([]*dirPlan, error) {
	entries, err := p.job.Source().Tree(d.oid)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", d.path, err)
	}
	var known map[plumbing.Hash]*tree.Entry
	dirs := map[string]tree.Entry{}
	if prev := p.nodes.Node(d.prev.OID); prev != nil {
		known = make(map[plumbing.Hash]*tree.Entry, len(prev.Entries))
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
	d.node = &tree.Node{Entries: make([]tree.Entry, len(entries))}
	var below []*dirPlan
	for i, e := range entries {
		where := path.Join(d.path, e.Name)
		if len(e.Name) > maxName || len(where) > record.MaxPath {
			return nil, badName(where, p.job.again())
		}
		entry := &d.node.Entries[i]
		*entry = tree.Entry{Mode: e.Mode, Name: e.Name, OID: e.Hash}
		if k := known[e.Hash]; k != nil && sameKind(k.Mode, e.Mode) {
			entry.Size, entry.SHA256 = k.Size, k.SHA256
			continue
		}
		switch {
		case e.Mode == filemode.Submodule:
		case e.Mode == filemode.Dir:
			if !seen[e.Hash] {
				seen[e.Hash] = true
				below = append(below, &dirPlan{oid: e.Hash, path: where, prev: dirs[e.Name]})
			}
		default:
			p.planContent(e.Hash, where, e.Mode == filemode.Symlink)
		}
	}
	return below, nil
}

func (p *Prepared) planContent(oid plumbing.Hash, where string, link bool) {
	c := p.contents[oid]
	if c == nil {
		c = &content{oid: oid, path: where}
		p.contents[oid] = c
		p.planned = append(p.planned, c)
	}
	if link && !c.link {
		c.link, c.path = true, where
	}
}

func badName(where, again string) error {
	return &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("%q: a name of %d bytes in a path of %d; a file system takes %d and %d", where,
			len(path.Base(where)), len(where), maxName, record.MaxPath),
		Remedy: "shorten the name, " + again,
	}
}

// sameKind tells whether what is known of an entry holds for one of another mode: a file that became a link has the
// same content and must be looked at all the same.
func sameKind(known, mode filemode.FileMode) bool {
	file := func(m filemode.FileMode) bool { return m == filemode.Regular || m == filemode.Executable }
	return known == mode || file(known) && file(mode)
}

// readContents learns size and sha256 of every planned content, in one stream out of git or the directory.
func (p *Prepared) readContents(ctx context.Context, progress func(text.Progress)) error {
	list, oids := p.planned, make([]plumbing.Hash, len(p.planned))
	for i, c := range list {
		oids[i] = c.oid
	}
	told, kept := text.Progress{Step: "reading", FilesTotal: len(list)}, int64(0)
	return p.job.Source().Blobs(ctx, oids, func(i int, size int64, r io.Reader) error {
		c := list[i]
		if c.size = size; p.job.MaxFile > 0 && size > p.job.MaxFile {
			return tooLargeFile(c.path, size, p.job)
		}
		sum := tree.NewContentHash(size)
		if size <= tree.ChunkSize && kept+size <= keepBytes {
			c.kept = make([]byte, 0, size)
			kept += size
		}
		if err := c.read(r, sum, p.job.again()); err != nil {
			return p.unread(c.path, err)
		}
		c.sum = sum.SHA256()
		told.Files++
		told.Bytes += size
		progress(told)
		return nil
	})
}

// unread says which content could not be read, once.
func (p *Prepared) unread(where string, err error) error {
	var changed *tree.ChangedError
	if errors.As(err, &changed) || fault.Is(err, fault.Refused) {
		return err
	}
	return fmt.Errorf("read %q: %w", where, err)
}

func tooLargeFile(where string, size int64, job *Job) error {
	remedy := "take it out of the commit and push again, or ask who runs the server to raise its limit, --max-file-size"
	if job.Dir != nil {
		remedy = "leave it out with --exclude, or raise the limit, --max-file-size"
	}
	return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("%q has %s, and at most %s are deployed", where, text.ExactSize(size), text.ExactSize(job.MaxFile)), Remedy: remedy}
}

// read takes a content in and checks that it is what its oid names.
func (c *content) read(r io.Reader, sum *tree.ContentHash, again string) error {
	target := sliceWriter{keep: c.kept != nil || c.link, data: c.kept}
	n, err := io.Copy(io.MultiWriter(sum, &target), r)
	if err != nil {
		return err
	}
	if n != c.size || sum.OID() != c.oid {
		return fmt.Errorf("something else than blob %s was handed over", c.oid)
	}
	if c.kept != nil {
		c.kept = target.data
	}
	if !c.link {
		return nil
	}
	for _, b := range target.data {
		if b == 0 {
			return badLink(c.path, "has a NUL byte in its target", again)
		}
	}
	if c.size == 0 || c.size > maxLink {
		return badLink(c.path, fmt.Sprintf("has a target of %d bytes; 1 to %d can be made", c.size, maxLink), again)
	}
	return nil
}

func badLink(path, why, again string) error {
	return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("symbolic link %q %s", path, why), Remedy: "remove the link or correct it, " + again}
}

// sliceWriter keeps what is written if it shall.
type sliceWriter struct {
	keep bool
	data []byte
}

func (w *sliceWriter) Write(b []byte) (int, error) {
	if w.keep && len(w.data) <= tree.ChunkSize {
		w.data = append(w.data, b...)
	}
	return len(b), nil
}

// finishNodes fills in sizes and sha256s from the bottom up and sorts the planned nodes by height.
func (p *Prepared) finishNodes(plans []*dirPlan) {
	byOID := make(map[plumbing.Hash]*dirPlan, len(plans))
	for _, d := range plans {
		byOID[d.oid] = d
	}
	for _, d := range plans {
		p.finishNode(d, byOID)
	}
	p.root = p.nodes.Entry(p.Verdict.tree)
}

// finishNode finishes the planned directories below d, then d; the same directory may lie in many.
func (p *Prepared) finishNode(d *dirPlan, plans map[plumbing.Hash]*dirPlan) {
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

// findMissing asks etcd which of the planned contents it has.
func (p *Prepared) findMissing(ctx context.Context) error {
	var keys []string
	var first []int // where a content's keys start
	for _, c := range p.planned {
		first = append(first, len(keys))
		keys = append(keys, c.keys(p.chain)...)
	}
	there, err := etcd.Exist(ctx, p.chain.kv, keys)
	if err != nil {
		return fmt.Errorf("look up contents in %s: %w", p.chain.ns, etcd.Classify(err))
	}
	first = append(first, len(keys))
	for i, c := range p.planned {
		complete := true
		for k := first[i]; k < first[i+1]; k++ {
			complete = complete && there[k]
		}
		if complete {
			c.kept = nil
			continue
		}
		p.missing = append(p.missing, c)
		if !c.uncut { // it is counted with its chunks
			p.NewContents++
		}
		p.NewBytes += c.size
		p.keys += first[i+1] - first[i]
	}
	return nil
}

// readObjects reads the commits from the previous hash on, and with a path the trees down to it, as far as etcd lacks
// them: with them whoever holds only etcd can prove which commit a tree belongs to.
func (p *Prepared) readObjects(ctx context.Context) error {
	if p.job.Dir != nil {
		return nil // its deploy hash is the tree's
	}
	oids := []plumbing.Hash{p.job.Commit}
	if !p.Verdict.More && p.Verdict.Head != nil {
		oids = append(oids, p.Verdict.Commits...)
	}
	oids = append(oids, p.Verdict.above...)
	keys := make([]string, len(oids))
	for i, oid := range oids {
		keys[i] = p.chain.ObjectKey(oid)
	}
	there, err := etcd.Exist(ctx, p.chain.kv, keys)
	if err != nil {
		return fmt.Errorf("look up commits in %s: %w", p.chain.ns, etcd.Classify(err))
	}
	size := 0
	for i, oid := range oids {
		if there[i] || p.objects[keys[i]] != nil {
			continue
		}
		raw, err := p.job.Repo.Raw(oid)
		if err != nil {
			return fmt.Errorf("read object %s: %w", oid, err)
		}
		if len(raw) > etcd.MaxValue {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("git object %s is %s; one value in etcd holds %s", oid, text.Size(int64(len(raw))), text.Size(etcd.MaxValue)),
				Remedy: "shorten the commit's message, or deploy a directory above with fewer entries beside it",
			}
		}
		p.objects[keys[i]] = raw
		if size += len(raw); size > maxObjects {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("the commits since %s have more than %s", p.Verdict.previous.Short(), text.Size(maxObjects)),
				Remedy: "push them in parts",
			}
		}
	}
	p.NewBytes += int64(size)
	p.keys += len(p.objects)
	return nil
}
