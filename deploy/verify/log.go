package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/tlog"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
)

// chainLog is a chain's log (package transparency) as it is when Run begins.
type chainLog struct {
	checkpoint *store.Checkpoint
	isProved   bool     // the checkpoint is good
	isOwn      bool     // and its root is that of the log's own leaves: where a deploy differs, it was changed
	begun      bool     // or there is a checkpoint: else what is there was broken off, and means nothing
	values     [][]byte // of deploy i+1 at i, up to the last that is there, or that the checkpoint is of; nil: missing

	leaves map[record.ID]tlog.Hash // what the deploys give
	newest *record.Deploy          // the newest record; nil: none
	head   record.ID               // when Run began

	cosigned cosignatures
	isCut    bool // not all deploys were read
}

// readHead reads the head, and the head of the log with it: both are published in one txn.
func (r *run) readHead(ctx context.Context) (*record.State, error) {
	for try := 1; ; try++ {
		before, _, err := r.readCheckpoint(ctx)
		if err != nil {
			return nil, err
		}
		state, err := r.chain.State(ctx)
		if err != nil {
			return nil, err
		}
		cp, damage, err := r.readCheckpoint(ctx)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(cp.Signed, before.Signed) || try == maxTries {
			if r.log.checkpoint = cp; damage != nil {
				r.stray(damage)
			}
			return state, nil
		}
	}
}

// readCheckpoint reads the head of the log; damage says that it is none.
func (r *run) readCheckpoint(ctx context.Context) (cp *store.Checkpoint, damage, err error) {
	cp, err = r.chain.Checkpoint(ctx)
	if fault.Is(err, fault.Corrupt) {
		return cp, err, nil
	}
	return cp, nil, err
}

// readLog reads the log, and asks whether the checkpoint was published with its deploy.
func (r *run) readLog(ctx context.Context) error {
	l := &r.log
	l.leaves, l.head = map[record.ID]tlog.Hash{}, r.head
	if err := r.judgeCheckpoint(ctx); err != nil || r.head > maxLogged {
		return err
	}
	if err := r.readValues(ctx); err != nil || len(l.values) == 0 {
		return err
	}
	l.begun = l.values[0] != nil || l.checkpoint.Revision != 0
	own := new(transparency.Tree)
	for _, value := range l.values[:min(len(l.values), int(l.checkpoint.Size))] {
		if len(value) < tlog.HashSize {
			return nil
		}
		own.Append(tlog.Hash(value[:tlog.HashSize]))
	}
	l.isOwn = l.isProved && own.Size() == l.checkpoint.Size && own.Root() == l.checkpoint.Root
	return nil
}

// maxLogged is how many deploys a log that is looked at may have: there are no more of so many that are there.
const maxLogged = 1 << 26

// readValues reads the values of the log. One that is put while they are read is not missing.
func (r *run) readValues(ctx context.Context) error {
	ids := make([]record.ID, r.head)
	for i := range ids {
		ids[i] = record.ID(i + 1)
	}
	values, err := r.chain.LogValues(ctx, ids)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(ids, func(id record.ID) bool { return values[id-1] != nil })
	if n := len(missing); n > 0 && n < len(values) {
		again, err := r.chain.LogValues(ctx, missing)
		if err != nil {
			return err
		}
		for i, value := range again {
			values[missing[i]-1] = value
		}
	}
	top := len(values)
	for top > 0 && values[top-1] == nil && record.ID(top) > r.log.checkpoint.Size {
		top--
	}
	r.log.values = values[:top]
	return nil
}

// judgeCheckpoint asks whether the checkpoint was published with its deploy.
func (r *run) judgeCheckpoint(ctx context.Context) error {
	cp, key := r.log.checkpoint, r.chain.Key(store.CheckpointKey)
	switch {
	case cp.Revision == 0 || cp.Chain == "": // none, or one that cannot be read
		return nil
	case cp.Size == 0 || cp.Size > r.head:
		r.stray(record.Corrupt(key, fmt.Sprintf("it is of %d deploys, and there are %d", cp.Size, r.head)))
		return nil
	}
	d, err := r.chain.Get(ctx, cp.Size)
	switch {
	case record.IsNewer(err) || fault.Is(err, fault.Corrupt), d != nil && d.Damage != nil: // that is told of the deploy
		return nil
	case err != nil:
		return err
	}
	if err := cp.Judge(r.chain, d); err != nil {
		r.stray(err)
		return nil
	}
	r.log.isProved = true
	return nil
}

// logged compares deploys with the log.
func (r *run) logged(ctx context.Context, block []*Deploy) error {
	if !r.whole {
		for _, d := range block {
			d.Answers[Log] = NotChecked
		}
		return nil
	}
	l := &r.log
	deploys := make([]*record.Deploy, len(block))
	for i, d := range block {
		deploys[i] = d.Deploy
	}
	leaves, err := r.chain.LeavesOf(ctx, deploys)
	if err != nil {
		return err
	}
	for i, d := range block {
		leaf := transparency.LeafHash(leaves[i])
		l.leaves[d.ID] = leaf
		if l.newest == nil && d.Record != nil {
			l.newest = d.Deploy
		}
		switch {
		case !l.begun || d.ID > record.ID(len(l.values)) || d.Damage != nil:
		case l.leafOf(d.ID) == leaf:
			d.Answers[Log] = Holds
		case l.isOwn && d.ID <= l.checkpoint.Size:
			_ = r.fail(d, Log, r.changed(d.Deploy))
		default: // it is not known yet which of them was changed
			d.Answers[Log] = NotChecked
		}
	}
	return nil
}

// leafOf is the hash that the log has of a leaf, zero if it has none.
func (l *chainLog) leafOf(id record.ID) (leaf tlog.Hash) {
	copy(leaf[:], l.values[id-1])
	return leaf
}

// changed says that a deploy is not the one that was logged.
func (r *run) changed(d *record.Deploy) error {
	if d.Record == nil {
		return record.Corrupt(r.chain.DeployKey(d.ID, record.KeyPayload),
			"it, or the hash beside it, is another one than when refship published over this foreign deploy")
	}
	return record.Corrupt(r.chain.DeployKey(d.ID, record.KeyRecord), "it is another record than the log has")
}

// restOfLog compares the values of the log with what the deploys give, and the checkpoint with both.
func (r *run) restOfLog() {
	l, cp := &r.log, r.log.checkpoint
	if l.isCut { // that was told, and what came before is not known
		return
	}
	if !l.begun {
		for _, all := range l.cosigned {
			r.tellCosigned(all, "a log was cosigned, and there is none")
		}
		return
	}
	r.newestIsSigned()
	theirs, own := new(transparency.Tree), new(transparency.Tree)
	want := make([][]byte, len(l.values))
	isTheirs := false
	for i := range l.values {
		id := record.ID(i + 1)
		leaf := l.leaves[id]
		want[i] = theirs.Append(leaf)
		r.compareCosigned(id, theirs)
		if l.isOwn && id <= cp.Size {
			leaf = l.leafOf(id)
		}
		if mixed := own.Append(leaf); l.isOwn {
			want[i] = mixed
		}
		isTheirs = isTheirs || l.isProved && id == cp.Size && theirs.Root() == cp.Root
	}
	if l.isProved && !l.isOwn && !isTheirs {
		r.stray(record.Corrupt(r.chain.Key(store.CheckpointKey),
			fmt.Sprintf("its root is neither that of the deploys up to %d, nor that of the log", cp.Size)))
	}
	for i, value := range l.values {
		id := record.ID(i + 1)
		switch key := r.chain.LogKey(id); {
		case value == nil:
			r.stray(record.Missing(key))
		case bytes.Equal(value, want[i]):
		default:
			if what := "it is not what the deploys up to this one give"; isTheirs && id <= cp.Size {
				r.stray(record.Corrupt(key, what))
			} else {
				r.stray(record.Corrupt(key, what+": it, or one of them, was changed"))
			}
		}
	}
}

// newestIsSigned finds that a checkpoint was taken away, or put back: refship signs one with each deploy that it signs.
func (r *run) newestIsSigned() {
	l, cp, n := &r.log, r.log.checkpoint, r.log.newest
	if n == nil || n.ID > record.ID(len(l.values)) || n.ID <= cp.Size || cp.Revision != 0 && cp.Chain == "" {
		return
	}
	by, err := n.Key()
	if err != nil || by.Type() != ssh.KeyAlgoED25519 {
		return
	}
	key := r.chain.Key(store.CheckpointKey)
	if cp.Revision == 0 {
		r.stray(record.Missing(key))
		return
	}
	r.stray(record.Corrupt(key, fmt.Sprintf("it is an older one, of deploy %d: with deploy %d another was signed", cp.Size,
		n.ID)))
}
