package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// resolveTimeout bounds how long Publish tries to find out what became of a txn whose answer was lost.
const resolveTimeout = 30 * time.Second

// Publish makes the deploy visible in one txn that also gives the lock back. ErrLockLost says that nothing was
// published, and that the deploy has to be prepared again. Where an answer never came the txn's result is read back:
// the deploy, ErrLockLost, or what else kept it from being published. If even that fails, the error wraps
// etcd.ErrUnreachable and not ErrLockLost, and the deploy may or may not be there.
func (p *Prepared) Publish(ctx context.Context) (*record.Deploy, error) {
	switch {
	case p.lock == nil:
		return nil, errNoLock("publish", p.chain)
	case p.Verdict.Idle():
		return nil, fmt.Errorf("publish in %s: deploy %d is what was asked for already", p.chain.ns, p.Verdict.Head.ID)
	case p.lock.revision == 0, len(p.Verdict.log.append) > 0:
		return nil, fmt.Errorf("publish in %s: %w", p.chain.ns, ErrLockLost)
	}
	at := time.Now() // before the key is read: one that has ended meanwhile may still sign as of then
	next, err := p.chooseSigner(ctx)
	if err != nil {
		return nil, err
	}
	d, err := p.composeDeploy(at, next)
	if err != nil {
		return nil, err
	}
	log, err := p.logChange(d)
	if err != nil {
		return nil, err
	}
	p.chain.log.DebugContext(ctx, "step", "at", "publishing")
	resp, err := p.publishTxn(ctx, d, log)
	switch {
	case err != nil:
		return p.resolveLostAnswer(ctx, d, err)
	case resp.Succeeded:
		p.lock.markFree()
		return d, nil
	}
	return p.explainRefusal(d, resp)
}

func errNoLock(verb string, c *Chain) error {
	return fmt.Errorf("%s in %s: it was prepared without a lock, for a dry run", verb, c.ns)
}

// composeDeploy makes the deploy: its record of that time, which announces the next signer if that is not "", and the
// signature over it.
func (p *Prepared) composeDeploy(at time.Time, next string) (*record.Deploy, error) {
	v, job := p.Verdict, p.job
	r := &record.Record{
		Format: record.Format, Namespace: p.chain.ns, Chain: record.NewChainID(), ID: p.nextID(), Kind: job.Kind,
		Forced: v.Forced != nil, Hash: job.Hash(), Path: job.Path,
		Tree: v.tree, TreeSHA256: p.plan.Root.SHA256, TreeSize: p.plan.Root.Size, Files: p.Files,
		Frontend: p.Frontend, Settings: job.Settings.Text(), PreviousHash: v.previous(),
		Repository: job.Repository, Target: job.Target, Ref: job.Ref, Tag: job.Tag,
		Commits: v.Counted(),
		Subject: v.subject, Author: v.author,
		Pusher: job.Pusher, Reason: job.Reason, Again: v.Again, Undone: v.undone, Server: job.Server,
		NextSigner: next, Time: at.UTC().Truncate(time.Millisecond),
	}
	if below := v.newest; below != nil {
		r.Chain = below.Record.Chain
		r.PreviousRecord = record.Ref{ID: below.ID, SHA256: record.Sum(below.RecordBytes)}
		if r.Time.Before(below.Record.Time) {
			r.Time = below.Record.Time.UTC() // a clock that was set back
		}
	}
	if !job.Certificate.IsZero() {
		r.PushCertificate = job.Certificate.String()
	}
	if job.Signer != nil {
		r.Signer = ssh.FingerprintSHA256(job.Signer.PublicKey())
	}
	return record.NewDeploy(r, job.Signer)
}

// publishTxn compares all that the deploy was prepared against and puts all of its keys.
func (p *Prepared) publishTxn(ctx context.Context, d *record.Deploy, log *change) (*clientv3.TxnResponse, error) {
	c := p.chain
	ifs := append(p.Verdict.unchanged(c), clientv3.Compare(clientv3.CreateRevision(c.Key("lock")), "=", p.lock.revision))
	puts := []clientv3.Op{
		clientv3.OpPut(c.DeployKey(d.ID, record.KeyHash), string(d.Hash)),
		clientv3.OpPut(c.DeployKey(d.ID, record.KeyRecord), string(d.RecordBytes)),
		clientv3.OpPut(c.Key("head"), d.ID.String()),
		clientv3.OpDelete(c.Key("lock")),
	}
	if p.plan.Payload != nil {
		puts = append(puts, clientv3.OpPut(c.DeployKey(d.ID, record.KeyPayload), string(p.plan.Payload)))
	}
	if d.Signature != nil {
		puts = append(puts, clientv3.OpPut(c.DeployKey(d.ID, record.KeySignature), string(d.Signature)))
	}
	if h := p.job.Hold; h != nil && p.Verdict.Held == nil {
		puts = append(puts, c.holdPuts(h)...)
	}
	puts = append(puts, p.rolloutOps(d)...)
	puts = append(puts, p.countPublish(puts)...)
	ifs, puts = append(ifs, log.ifs...), append(puts, log.puts...)
	return c.kv.Txn(ctx).If(ifs...).Then(puts...).
		Else(clientv3.OpGet(c.DeployKey(d.ID, record.KeyRecord)), clientv3.OpGet(c.Key("hold"))).Commit()
}

// unchanged compares that the chain is as the verdict found it: the head's keys, and no deploy after it; hold and
// rollout.
func (v *Verdict) unchanged(c *Chain) []clientv3.Cmp {
	ifs := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(c.Key("hold")), "=", v.holdAt), // 0, but of a rollback
		clientv3.Compare(clientv3.ModRevision(c.Key(record.RolloutKey)), "=", v.rolloutAt),
	}
	for which := range record.KeyNames {
		ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(c.DeployKey(v.nextID(), which)), "=", 0))
		if v.Head != nil {
			key := c.DeployKey(v.Head.ID, which)
			ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(key), "=", v.Head.Revisions[which]))
		}
	}
	return ifs
}

// explainRefusal says why the compares failed.
func (p *Prepared) explainRefusal(d *record.Deploy, resp *clientv3.TxnResponse) (*record.Deploy, error) {
	if isRecord(resp.Responses[0], d) {
		p.lock.markFree()
		return d, nil // it was: etcd's client had asked twice
	}
	if hold := resp.Responses[1].GetResponseRange().Kvs; len(hold) > 0 && !p.job.passesHold() {
		return nil, p.chain.heldError(record.ParseHold(hold[0].Value))
	}
	return nil, fmt.Errorf("publish deploy %d in %s: %w", d.ID, p.chain.ns, ErrLockLost)
}

// resolveLostAnswer finds out whether a txn without an answer was applied.
func (p *Prepared) resolveLostAnswer(ctx context.Context, d *record.Deploy, cause error) (*record.Deploy, error) {
	fail := func(err error) error { return fmt.Errorf("publish deploy %d in %s: %w", d.ID, p.chain.ns, err) }
	resp, err := p.readBack(ctx, d.ID)
	p.lock.markFree()
	if err != nil {
		p.chain.locker.abandon(p.lock.lease)  // the lock may be there
		if errors.Is(cause, etcd.ErrDenied) { // etcd looks at permissions before it does anything of a txn
			return nil, fail(cause)
		}
		return nil, fail(fmt.Errorf("no answer, it may be there or not: %w", err))
	}
	switch {
	case isRecord(resp.Responses[1], d):
		return d, nil
	case isPassing(cause):
		return nil, fail(fmt.Errorf("%w: %w", ErrLockLost, cause))
	}
	return nil, fail(cause)
}

// readBack reads a deploy's record, the second answer of the txn. It takes the lock away in the same txn, so that a
// publish which is still under way somewhere in etcd cannot be applied afterwards. It tries for resolveTimeout.
func (p *Prepared) readBack(ctx context.Context, id record.ID) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resolveTimeout)
	defer cancel()
	lock, read := p.chain.Key("lock"), clientv3.OpGet(p.chain.DeployKey(id, record.KeyRecord))
	for {
		resp, err := p.chain.kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(lock), "=", p.lock.revision)).
			Then(clientv3.OpDelete(lock), read).Else(read, read).Commit()
		if err == nil {
			return resp, nil
		}
		if errors.Is(err, etcd.ErrDenied) {
			return nil, err // it will be denied in a moment, too
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if !errors.Is(err, etcd.ErrUnreachable) {
				err = etcd.Classify(context.DeadlineExceeded)
			}
			return nil, err
		}
	}
}

// isPassing tells whether what kept a txn out is over once etcd has answered another.
func isPassing(err error) bool {
	return errors.Is(err, etcd.ErrUnreachable) || errors.Is(err, rpctypes.ErrTooManyRequests) ||
		errors.Is(err, rpctypes.ErrAuthOldRevision)
}

func isRecord(resp *etcdserverpb.ResponseOp, d *record.Deploy) bool {
	kvs := resp.GetResponseRange().GetKvs()
	return len(kvs) == 1 && bytes.Equal(kvs[0].Value, d.RecordBytes)
}
