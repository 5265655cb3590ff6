package deploy

import (
	"context"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

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
	levels   [][]tree.OID // planned nodes, the lowest level first
	contents map[tree.OID]*content
	planned  []*content        // the same in the order of the walk, in which git has packed them
	missing  []*content        // that etcd lacks
	objects  map[string][]byte // raw git objects that etcd lacks, by key
	payload  []byte            // what mgmt reads, with mgmt's frontends
	block    superblock
	keys     int // how many keys Upload writes
}

// Prepare checks the job again, now under the lock, reads what changed and finds out what etcd lacks. What cannot be
// deployed is refused here, before anything is written. If the verdict is Idle, nothing was read. Without a lock
// (nil) it tells what a deploy would do, and the Prepared can neither be uploaded nor published.
func (c *Chain) Prepare(
	ctx context.Context, lock *Lock, job *Job, progress func(text.Progress),
) (*Prepared, error) {
	v, err := c.Check(ctx, job)
	if err != nil {
		return nil, err
	}
	p := &Prepared{
		Verdict: v, Frontend: job.Frontend, chain: c, lock: lock, job: job, nodes: c.NewNodes(),
		contents: map[tree.OID]*content{}, objects: map[string][]byte{},
	}
	if v.Idle() {
		return p, nil
	}
	plans, err := p.planTree(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.readContents(ctx, progress); err != nil {
		return nil, err
	}
	p.finishNodes(plans)
	for _, step := range []func(context.Context) error{p.layForMgmt, p.findMissing, p.readObjects, p.countFiles} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// nextID is the id that the deploy will have.
func (p *Prepared) nextID() record.ID {
	if p.Verdict.Head == nil {
		return 1
	}
	return p.Verdict.Head.ID + 1
}
