package plan

import (
	"context"
	"errors"
	"io"
	"log/slog"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Source is where directories and contents come from: a *git.Repository or a *tree.Directory.
type Source interface {
	Tree(oid tree.OID) ([]tree.Entry, error)
	Trees(ctx context.Context, oids []tree.OID, fn func(i int, entries []tree.Entry) error) error
	Sizes(ctx context.Context, oids []tree.OID) ([]int64, error)
	Blobs(ctx context.Context, oids []tree.OID, fn func(i int, size int64, content io.Reader) error) error
}

// Task is a tree to be put into a chain's namespace.
type Task struct {
	Chain  *store.Chain
	KV     clientv3.KV // of the chain's etcd
	Memory *Memory
	Log    *slog.Logger

	ID       record.ID       // that the deploy will have
	Hash     record.Hash     // that the deploy will have
	Root     tree.OID        // of Source
	Source   Source          // of directories and contents
	Repo     *git.Repository // of Objects
	Objects  []tree.OID      // commits, and with a path the trees down to it
	Top      tree.OID        // the commit's own tree, of Repo
	Path     string          // of Root in it; "" is all of it
	Since    record.Hash     // what the commits begin after
	Head     *record.Record  // whose tree is in etcd already; nil: none
	Distrust bool            // take nothing from Head's tree: it may have been signed over a node that was altered
	Frontend record.Frontend
	Settings record.Settings
	MaxFile  int64 // the largest content that is newly stored, in bytes; 0: any
	// AllowPointers lets Git LFS pointers be deployed as they are.
	AllowPointers bool
	Then          string // what to do when the tree is corrected: "commit, push again"
	// Small asks for a plan that Put puts in one txn, with a compare for each key of There: else there is ErrNotSmall,
	// soon.
	Small bool
	// MayWait lets most of a large tree be read only when it is put, so that it is read once.
	MayWait bool
}

// maxThere leaves room for the compares of who puts a small plan.
const maxThere = etcd.MaxOps / 2

// ErrNotSmall: the plan is not as Task.Small asks for.
var ErrNotSmall = errors.New("not a small deploy")

// Summary is what a deploy of the tree changes, and what it stores.
type Summary struct {
	Files       int             // files and links in the tree
	Changed     int             // files and links added, modified or deleted since the head; all, if that is foreign
	Added       int             // of Changed
	Modified    int             // of Changed: another content or mode, or a file that became a link
	Deleted     int             // of Changed
	Listed      []store.Change  // the first 1,000 of the changes, sorted by path
	NewContents int             // contents that etcd lacks
	NewBytes    int64           // bytes to store: contents, nodes, commits
	Keys        int             // how many keys have them
	AtMost      bool            // NewContents, NewBytes and Keys count contents that etcd perhaps has
	Submodules  []string        // paths of changed submodules, the first 1,000: recorded, and not deployed
	Frontend    record.Frontend // the task's, or what Auto has picked
	Entry       string          // the file that mgmt starts with; "" if it is not mgmt's
}

// Plan is a tree that was read and compared with etcd. Nothing is written yet. It has a share of the Memory until it is
// put or dropped. It belongs to one goroutine at a time.
type Plan struct {
	Summary
	Root    tree.Entry // what a record says of the tree
	Payload []byte     // what mgmt reads of the deploy, with mgmt's frontends; for the publishing txn

	fromNothing bool // the head's tree cannot be compared with
	// There are, of a small plan, the keys that etcd has already and that the head does not vouch for: gc may delete them,
	// but under the lock.
	There []string

	task     Task
	share    share
	nodes    *store.Nodes
	levels   [][]plannedNode // the lowest level first
	contents map[tree.OID]*content
	planned  []*content        // the same in the order of the walk, in which git has packed them
	missing  []*content        // that etcd lacks
	objects  map[string][]byte // raw git objects that etcd lacks, by key
	block    superblock
	keeps    int64      // bytes of contents in memory
	late     []*content // that wait to be read until they are put
	isAlone  bool       // etcd has nothing in the namespace
}

// isThere notes keys that etcd has.
func (p *Plan) isThere(keys ...string) {
	if p.task.Small {
		p.There = append(p.There, keys...)
	}
}

// Make reads what changed, and finds out what etcd lacks. What cannot be deployed is refused here.
func Make(ctx context.Context, task Task, progress func(text.Progress)) (*Plan, error) {
	p := &Plan{
		Summary: Summary{Frontend: task.Frontend}, task: task, share: share{of: task.Memory},
		contents: map[tree.OID]*content{}, objects: map[string][]byte{},
	}
	p.nodes = task.Chain.NewNodesWithin(p.share.take)
	if err := p.make(ctx, progress); err != nil {
		p.Drop()
		return nil, err
	}
	return p, nil
}

func (p *Plan) make(ctx context.Context, progress func(text.Progress)) error {
	plans, err := p.planTree(ctx)
	if err != nil {
		return err
	}
	p.layLevels(plans)
	if err := p.learnSizes(ctx); err != nil {
		return err
	}
	p.postpone()
	if err := p.readContents(ctx, p.planned, progress); err != nil {
		return err
	}
	p.fillNodes()
	for _, step := range []func(context.Context) error{
		p.findNodes, p.countFiles, p.refusePointers, p.layForMgmt, p.findPlanned, p.readObjects,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if p.task.Small && (len(p.There) > maxThere || !p.isOne()) {
		return ErrNotSmall
	}
	return nil
}
