package agent

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// ringWait is what a node waits for whose ring may not run a deploy.
type ringWait struct {
	head *record.Deploy
	why  string
}

// chooseEarlier gives what the node runs while its ring may not run a.rings.head: what runs already, if that is of this
// chain and not older than what the rollout says; else that.
func (a *Agent) chooseEarlier(
	ctx context.Context, chain *store.Chain, rollout *record.Rollout, running *site.Release,
) (*record.Deploy, error) {
	head, base := a.rings.head, rollout.Base
	if running != nil && running.ID != 0 && running.ID >= base && running.ID <= head.ID {
		d, err := chain.Get(ctx, running.ID)
		switch {
		case err == nil && site.ReleaseOf(d).Is(running):
			return d, nil
		case err != nil && !errors.Is(err, store.ErrNotFound) && !fault.Is(err, fault.Corrupt):
			return nil, err
		}
	}
	if base == 0 || base >= head.ID {
		return nil, &fault.Error{Kind: fault.Failed, What: a.rings.why, Cause: errUndeployed}
	}
	d, err := chain.Get(ctx, base)
	if err != nil {
		return nil, failedAs(record.FailedFetch, err)
	}
	return d, a.believeEarlier(ctx, chain, head, d)
}

// believeEarlier says whether a deploy below a head may run: the head leads back to it, and its signature counts.
func (a *Agent) believeEarlier(ctx context.Context, chain *store.Chain, head, d *record.Deploy) error {
	is, err := seenOf(ctx, chain, head)
	if err != nil {
		return err
	}
	was, err := seenOf(ctx, chain, d)
	if err != nil {
		return err
	}
	why, err := breaks(ctx, chain, was, is)
	switch {
	case err != nil:
		return err
	case why != "":
		return &fault.Error{
			Kind: fault.Corrupt, Reason: record.ReasonDamaged, About: []string{chain.DeployKey(d.ID, record.KeyRecord)},
			What: fmt.Sprintf("deploy %d of %s does not lead back to deploy %d: %s", head.ID, chain.Namespace(), d.ID, why),
		}
	}
	return a.cfg.Judge(ctx, chain, d)
}

// notReleased says that a deploy is not released to the node's ring.
func (a *Agent) notReleased(rollout *record.Rollout, d *record.Deploy) string {
	switch {
	case rollout.Broken:
		return fmt.Sprintf("nobody knows who may run deploy %d: the rollout cannot be read", d.ID)
	case a.cfg.Ring == "":
		return fmt.Sprintf("deploy %d is not released to nodes without a ring", d.ID)
	}
	return fmt.Sprintf("deploy %d is not released to the ring %s", d.ID, a.cfg.Ring)
}

// tellRing tells once of a head that the node waits for its ring.
func (a *Agent) tellRing(ctx context.Context) {
	if id := a.rings.head.ID; a.toldRing != id {
		a.log.InfoContext(ctx, "waiting for the ring", "id", id, "ring", a.cfg.Ring)
		a.toldRing = id
	}
}

// failedError is an error that says what has failed.
type failedError struct {
	error
	what record.NodeFailure
}

// Unwrap gives the error.
func (e failedError) Unwrap() error { return e.error }

func failedAs(what record.NodeFailure, err error) error {
	if err == nil {
		return nil
	}
	return failedError{err, what}
}

// failureOf says what has failed; "" if that is not known. What the file system does not take is never laid to the
// deploy.
func failureOf(err error) record.NodeFailure {
	for _, full := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE,
	} {
		if errors.Is(err, full) {
			return record.FailedDisk
		}
	}
	var failed failedError
	if errors.As(err, &failed) {
		return failed.what
	}
	return ""
}
