package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"refship/deploy/fault"
	"refship/deploy/record"
)

// ReasonExpired: gc has taken content of a deploy. About: what deploy.ReasonContentGone is about.
const ReasonExpired fault.Reason = "deploy-expired"

// Expired gives the highest id whose content gc may have taken; 0 if it has taken none.
func (c *Chain) Expired(ctx context.Context) (record.ID, error) {
	values, err := c.Values(ctx, c.Key(record.ExpiredKey))
	if err != nil {
		return 0, fmt.Errorf("read what is expired in %s: %w", c.ns, err)
	}
	return record.ParseExpired(values[0].Value), nil
}

// IsExpired tells whether gc may have taken content of a deploy: its id is one of those, it is not pinned, it is not the
// head, and the rollout of that does not keep it.
func (c *Chain) IsExpired(ctx context.Context, id record.ID) (bool, error) {
	values, err := c.Values(ctx, c.Key(record.ExpiredKey), c.Key(record.PinKey(id)))
	if err != nil {
		return false, fmt.Errorf("read what is expired in %s: %w", c.ns, err)
	}
	if id > record.ParseExpired(values[0].Value) || values[1].Revision != 0 {
		return false, nil
	}
	state, err := c.State(ctx)
	if err != nil {
		return false, err
	}
	isHead := state.Head != nil && state.Head.ID == id
	return !isHead && !slices.Contains(state.Rollout.Keeps(), id), nil
}

// Explain gives err, which came of reading deploys, or in its place that one of them is expired: then content that is
// missing was taken by gc, perhaps just now.
func (c *Chain) Explain(ctx context.Context, err error, deploys ...*record.Deploy) error {
	if !errors.Is(err, record.ErrMissing) {
		return err
	}
	for _, d := range deploys {
		if expired, whyNot := c.IsExpired(ctx, d.ID); whyNot != nil || !expired {
			continue // err says enough
		}
		return &fault.Error{
			Kind: fault.Failed, Reason: ReasonExpired, About: []string{d.ID.String(), string(d.Hash), string(c.ns), "", "", ""},
			What: fmt.Sprintf("deploy %d of %s is expired: gc has taken content of it", d.ID, c.ns),
		}
	}
	return err
}
