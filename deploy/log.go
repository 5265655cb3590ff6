package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
)

// chainLog is a chain's log (package transparency) as it is before a deploy, and what has to be appended to it first:
// the leaves of deploys that another writer, or a refship without a log, has published.
type chainLog struct {
	isNone     bool               // there are too many deploys to begin one: whatever is there of it goes
	tree       *transparency.Tree // of all deploys up to the head
	isWiped    bool               // the log has not begun, or is made anew: what is there of it goes first
	first      []byte             // then the value of log/1, which is put with the deploy: with it the log begins
	append     []logValue         // in order; without first
	checkpoint int64              // mod revision; 0: there is none
}

type logValue struct {
	id    record.ID
	value []byte
}

// maxLeaves is how many leaves are appended before one deploy: an id far above all others is put easily. A chain that
// would need more to begin its log has none.
const maxLeaves = 1 << 20

// checkLog reads the chain's log, on which the deploy's leaf will stand: a *ConflictError if it is damaged. Then the
// verdict has one that is made anew from the deploys.
func (c *Chain) checkLog(ctx context.Context, job *Job, v *Verdict) error {
	var err error
	if v.log, err = c.readLog(ctx, v.Head); err == nil || !fault.Is(err, fault.Corrupt) {
		return err
	}
	damage := err
	if state, err := c.State(ctx); err != nil || headID(state.Head) != headID(v.Head) {
		return cmp.Or(err, errHeadMoves)
	}
	if v.log, err = c.newLog(ctx, headID(v.Head), nil); err != nil {
		return err
	}
	v.log.isWiped = true
	cp, err := c.Values(ctx, c.Key(store.CheckpointKey))
	if err != nil {
		return err
	}
	v.log.checkpoint = cp[0].Revision
	if v.Head != nil {
		return c.distrust(job, v.Head, damage.Error(), ReasonLogDamaged)
	}
	return &ConflictError{Kind: fault.Corrupt, Namespace: c.ns, Head: &record.Deploy{}, Why: damage.Error(),
		Reason: ReasonLogDamaged, About: []string{string(job.Kind), "0"}}
}

// errHeadMoves: a deploy was published while the log was read.
var errHeadMoves = errors.New("the head has moved")

func headID(head *record.Deploy) record.ID {
	if head == nil {
		return 0
	}
	return head.ID
}

// readLog reads the log of a chain with a head, in one request if all deploys are in it: a fault.Corrupt if it does
// not fit the deploys, or the checkpoint that is there.
func (c *Chain) readLog(ctx context.Context, head *record.Deploy) (*chainLog, error) {
	to := headID(head)
	cp, values, err := c.LogEdge(ctx, append(transparency.Edge(to), 1, to+1))
	switch {
	case err != nil:
		return nil, err
	case cp.Size > to:
		return nil, record.Corrupt(c.Key(store.CheckpointKey), fmt.Sprintf("it is of %d deploys, and there are %d", cp.Size, to))
	case values[to+1] != nil:
		return nil, record.Corrupt(c.LogKey(to+1), fmt.Sprintf("it is there, and deploy %d is not", to+1))
	}
	l := &chainLog{checkpoint: cp.Revision, tree: new(transparency.Tree)}
	switch {
	case to == 0:
	case values[1] == nil:
		if l, err = c.newLog(ctx, to, cp); err != nil {
			return nil, err
		}
	default:
		if l, err = c.oldLog(ctx, to, values, cp); err != nil {
			return nil, err
		}
	}
	return l, c.judgeCheckpoint(ctx, head, cp)
}

// newLog makes a log of all deploys up to an id, which proves the checkpoint; nil: there is none to prove.
func (c *Chain) newLog(ctx context.Context, to record.ID, cp *store.Checkpoint) (*chainLog, error) {
	l := &chainLog{isWiped: to > 0, tree: new(transparency.Tree)}
	if cp != nil {
		l.checkpoint = cp.Revision
	}
	if to > maxLeaves && l.checkpoint == 0 {
		return &chainLog{isNone: true}, nil
	}
	if err := c.grow(ctx, l, to, cp); err != nil || to == 0 {
		return l, err
	}
	l.first, l.append = l.append[0].value, l.append[1:]
	return l, nil
}

// oldLog takes up a log that has begun.
func (c *Chain) oldLog(
	ctx context.Context, to record.ID, values map[record.ID][]byte, cp *store.Checkpoint,
) (*chainLog, error) {
	size := to
	if values[to] == nil {
		var err error
		if size, err = c.logSize(ctx, to); err != nil {
			return nil, err
		}
	}
	tree, err := transparency.ReadTree(size, func(ids []record.ID) ([][]byte, error) {
		if size != to {
			return c.LogReader(ctx)(ids)
		}
		some := make([][]byte, len(ids))
		for i, id := range ids {
			if some[i] = values[id]; some[i] == nil {
				return nil, record.Missing(c.LogKey(id))
			}
		}
		return some, nil
	})
	if err != nil {
		return nil, c.logDamage(err)
	}
	l := &chainLog{tree: tree, checkpoint: cp.Revision}
	if cp.Revision != 0 && cp.Size <= size {
		is := transparency.Checkpoint{Chain: cp.Chain, Size: size, Root: tree.Root()}
		if err := transparency.CheckExtends(cp.Checkpoint, is, c.LogReader(ctx)); err != nil {
			return nil, c.logDamage(err)
		}
	}
	return l, c.grow(ctx, l, to, cp)
}

// logDamage makes a fault.Corrupt of what package transparency says of values.
func (c *Chain) logDamage(err error) error {
	switch {
	case errors.Is(err, transparency.ErrForked):
		return record.Corrupt(c.Key(store.CheckpointKey), "its root is not that of the log")
	case transparency.IsDamage(err):
		return record.Corrupt(c.Key(store.LogPrefix), err.Error())
	}
	return err
}

// logSize finds how many deploys are in a log that has begun, and that lacks one of an id: it has no gaps.
func (c *Chain) logSize(ctx context.Context, high record.ID) (record.ID, error) {
	low := record.ID(1)
	for high-low > 1 {
		step := max(1, (high-low)/(store.MaxQueries-1))
		var ids []record.ID
		for id := low + step; id < high && len(ids) < store.MaxQueries; id += step {
			ids = append(ids, id)
		}
		values, err := c.LogValues(ctx, ids)
		if err != nil {
			return 0, err
		}
		for i, id := range ids {
			if values[i] == nil {
				high = id
				break
			}
			low = id
		}
	}
	return low, nil
}

// grow appends the leaves of all deploys up to an id. Where a checkpoint's size is passed, its root is compared.
func (c *Chain) grow(ctx context.Context, l *chainLog, to record.ID, cp *store.Checkpoint) error {
	from := l.tree.Size() + 1
	if from > to {
		return nil
	}
	if to-from >= maxLeaves {
		return record.Corrupt(c.Key(store.LogPrefix), fmt.Sprintf("the deploys from %d to %d are not in it, too many to be so",
			from, to))
	}
	return c.Leaves(ctx, from, to, func(id record.ID, leaf []byte) error {
		l.append = append(l.append, logValue{id, l.tree.Append(transparency.LeafHash(leaf))})
		if cp != nil && cp.Size == id && cp.Root != l.tree.Root() {
			return record.Corrupt(c.Key(store.CheckpointKey), fmt.Sprintf(
				"its root is not that of the deploys up to %d: one of them was written anew", id))
		}
		return nil
	})
}

// judgeCheckpoint asks whether the checkpoint was published with its deploy. One of a deploy that is damaged proves
// nothing, and keeps nothing out: the head's damage does.
func (c *Chain) judgeCheckpoint(ctx context.Context, head *record.Deploy, cp *store.Checkpoint) error {
	if cp.Size == 0 {
		return nil
	}
	d := head
	if d.ID != cp.Size {
		var err error
		if d, err = c.Get(ctx, cp.Size); err != nil && !fault.Is(err, fault.Corrupt) && !record.IsNewer(err) {
			return err
		}
	}
	if d == nil || d.Damage != nil {
		return nil
	}
	return cp.Judge(c.Chain, d)
}

// leavesPerTxn is how many leaves one txn appends: with compares for each.
const leavesPerTxn = 100

// appendLog writes the leaves that come before the deploy's, in order, so that whenever it is broken off what is there
// is a log of the deploys up to some id; or, while the log has not begun, nothing to anybody.
func (p *Prepared) appendLog(ctx context.Context) error {
	c, l := p.chain, p.Verdict.log
	held := clientv3.Compare(clientv3.CreateRevision(c.Key("lock")), "=", p.lock.revision)
	commit := func(ifs []clientv3.Cmp, ops []clientv3.Op) error {
		resp, err := c.kv.Txn(ctx).If(append(ifs, held)...).Then(ops...).Commit()
		if err == nil && !resp.Succeeded {
			err = ErrLockLost
		}
		return err
	}
	if l.isWiped {
		if err := commit(nil, []clientv3.Op{clientv3.OpDelete(c.Key(store.LogPrefix), clientv3.WithPrefix())}); err != nil {
			return err
		}
		l.isWiped = false
	}
	if n := len(l.append); n > 0 {
		c.log.InfoContext(ctx, "appending to the log", "deploys", n)
	}
	for len(l.append) > 0 {
		var ifs []clientv3.Cmp
		var puts []clientv3.Op
		for _, v := range l.append[:min(len(l.append), leavesPerTxn)] {
			ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(c.LogKey(v.id)), "=", 0))
			puts = append(puts, clientv3.OpPut(c.LogKey(v.id), string(v.value)))
		}
		if err := commit(ifs, puts); err != nil {
			return err
		}
		l.append = l.append[len(puts):]
		c.log.DebugContext(ctx, "step", "at", "log-appended")
	}
	return nil
}

// change is what a txn compares and does.
type change struct {
	ifs  []clientv3.Cmp
	puts []clientv3.Op
}

// logChange is what publishing a deploy adds to the log: its leaf, and the checkpoint if an ed25519 key signs the
// deploy.
func (p *Prepared) logChange(d *record.Deploy) (*change, error) {
	c, l := p.chain, p.Verdict.log
	add, key := new(change), c.Key(store.CheckpointKey)
	if l.isNone {
		add.puts = append(add.puts, clientv3.OpDelete(key))
		return add, nil
	}
	tree := l.tree.Clone()
	put := func(id record.ID, value []byte) {
		add.ifs = append(add.ifs, clientv3.Compare(clientv3.CreateRevision(c.LogKey(id)), "=", 0))
		add.puts = append(add.puts, clientv3.OpPut(c.LogKey(id), string(value)))
	}
	if l.first != nil {
		put(1, l.first)
	}
	put(d.ID, tree.Append(transparency.LeafHash(d.RecordBytes)))
	add.ifs = append(add.ifs, clientv3.Compare(clientv3.ModRevision(key), "=", l.checkpoint))
	signer := p.job.Signer
	if signer == nil || signer.PublicKey().Type() != ssh.KeyAlgoED25519 {
		return add, nil
	}
	cp := transparency.Checkpoint{Chain: d.Record.Chain, Size: d.ID, Root: tree.Root()}
	s, err := transparency.NewSigner(cp.Origin(), signer)
	if err != nil {
		return nil, err
	}
	signed, err := cp.Sign(s)
	if err != nil {
		return nil, err
	}
	add.puts = append(add.puts, clientv3.OpPut(key, string(signed)))
	return add, nil
}
