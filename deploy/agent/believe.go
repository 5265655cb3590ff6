package agent

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// ReasonRewritten: the chain's head does not extend the one that the node has seen last. About: the root.
const ReasonRewritten fault.Reason = "chain-rewritten"

// believe says whether a head may run, and remembers it. nil is a chain without a deploy.
func (a *Agent) believe(ctx context.Context, chain *store.Chain, head *record.Deploy) error {
	if head != nil && head.Damage != nil {
		return head.Damage
	}
	is, err := seenOf(ctx, chain, head)
	if err != nil {
		return err
	}
	was, err := a.site.Seen()
	if err != nil {
		return err
	}
	accepted, err := a.site.Accepted()
	if err != nil {
		return err
	}
	switch {
	case was == nil && head == nil:
		return nil
	case was == nil || accepted != nil && *accepted == *is || follows(head, was):
	default:
		why, err := breaks(ctx, chain, was, is)
		if err != nil {
			return err
		}
		if why != "" {
			return a.refuse(was, is, why)
		}
	}
	if head != nil {
		if err := a.cfg.Judge(ctx, chain, head); err != nil {
			return err
		}
	}
	if was != nil && *was == *is && accepted == nil {
		return nil
	}
	if err := a.site.Remember(is); err != nil {
		return err
	}
	if accepted != nil && *accepted == *is {
		a.log.InfoContext(ctx, "accepted by the operator", "was", was.String(), "is", is.String())
	}
	a.step(ctx, "seen")
	return nil
}

// seenOf is a head as it is remembered.
func seenOf(ctx context.Context, chain *store.Chain, head *record.Deploy) (*site.Seen, error) {
	seen := &site.Seen{Namespace: chain.Namespace()}
	if head == nil {
		return seen, nil
	}
	seen.ID, seen.Hash = head.ID, head.Hash
	newest, damaged, err := chain.NewestRecord(ctx, head)
	switch {
	case err != nil:
		return nil, err
	case damaged != nil:
		return nil, damaged.Damage
	case newest != nil:
		seen.Chain = newest.Record.Chain
		seen.Record = record.Ref{ID: newest.ID, SHA256: record.Sum(newest.RecordBytes)}
	}
	return seen, nil
}

// follows tells whether a head is the very next deploy after the one that was seen, which most are: its own record says
// so by the sha256 of that one's record, and nothing else has to be read.
func follows(head *record.Deploy, was *site.Seen) bool {
	return head != nil && head.Record != nil && was.ID == was.Record.ID && head.ID == was.ID+1 &&
		head.Record.Namespace == was.Namespace && head.Record.Chain == was.Chain && head.Record.PreviousRecord == was.Record
}

// breaks says in which way a head does not extend the one that was seen; "" if it does.
func breaks(ctx context.Context, chain *store.Chain, was, is *site.Seen) (why string, err error) {
	switch {
	case *was == *is, was.Namespace == is.Namespace && was.ID == 0:
		return "", nil
	case was.Namespace != is.Namespace:
		return fmt.Sprintf("this node has followed %s", was.Namespace), nil
	case is.ID < was.ID:
		return "it is older", nil
	case was.Chain != "" && is.Chain != was.Chain:
		return "it is of another chain, with another first record", nil
	case is.ID == was.ID:
		return "it is another deploy with the same number", nil
	}
	return broken(ctx, chain, was, is)
}

// errFound ends a walk down the chain.
var errFound = errors.New("found")

// broken goes down from a head, from record to record by the sha256 that each names, and says where that does not lead
// to what was seen.
func broken(ctx context.Context, chain *store.Chain, was, is *site.Seen) (why string, err error) {
	names := is.Record
	err = chain.Down(ctx, is.ID, func(d *record.Deploy) error {
		switch {
		case names.ID < was.Record.ID:
			why = fmt.Sprintf("its records pass over deploy %d", was.Record.ID)
			return errFound
		case d.ID == names.ID && d.Damage != nil:
			return d.Damage
		case d.ID == names.ID && (d.Record == nil || record.Sum(d.RecordBytes) != names.SHA256):
			why = fmt.Sprintf("the record of deploy %d is not the one that the next record names", d.ID)
			return errFound
		case d.ID == was.ID && d.Hash != was.Hash:
			why = fmt.Sprintf("deploy %d is another one now", d.ID)
			return errFound
		case d.ID == was.Record.ID || was.Record.ID == 0 && d.ID == was.ID:
			if names != was.Record {
				why = fmt.Sprintf("the record of deploy %d is another one now", d.ID)
			}
			return errFound
		case d.ID == names.ID:
			names = d.Record.PreviousRecord
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return "", err
	}
	if err == nil {
		why = "its records do not lead there"
	}
	return why, nil
}

// refuse keeps a head that does not extend the one that was seen, for the operator.
func (a *Agent) refuse(was, is *site.Seen, why string) error {
	if err := a.site.Refuse(&site.Refusal{Was: *was, Is: *is, Why: why}); err != nil {
		return err
	}
	return &fault.Error{
		Kind: fault.Corrupt, Reason: ReasonRewritten, About: []string{a.site.Root()},
		What: fmt.Sprintf("%s was at %s, and is at %s, which does not extend it: %s", is.Namespace, was, is, why),
	}
}
