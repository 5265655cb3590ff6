package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// ErrEmpty: the chain has no deploy.
var ErrEmpty = errors.New("the chain is empty")

// Find reads the deploy that a selector names. A number names that deploy if it is there, and else a commit. Of several
// deploys of a commit it is the newest. ErrEmpty says that the chain has none, ErrNotFound that it has others.
func (c *Chain) Find(ctx context.Context, s record.Selector) (*record.Deploy, error) {
	if s.Number() != 0 {
		found, err := c.Get(ctx, s.Number())
		if err == nil || !errors.Is(err, ErrNotFound) {
			return found, err
		}
	}
	head, err := c.Head(ctx)
	switch {
	case err != nil:
		return nil, err
	case head == nil && s == record.Head:
		return nil, fmt.Errorf("no head in %s: %w", c.ns, ErrEmpty)
	case head == nil:
		return nil, fmt.Errorf("no deploy %s in %s: %w", s, c.ns, ErrEmpty)
	case s == record.Head:
		return head, nil
	}
	return c.FindUnder(ctx, s, head)
}

// FindUnder is Find as of a head, which need not be sound.
func (c *Chain) FindUnder(ctx context.Context, s record.Selector, head *record.Deploy) (*record.Deploy, error) {
	switch id := s.Number(); {
	case id != 0 && (id <= head.ID || s.Commit() == ""):
		found, err := c.Get(ctx, id)
		if errors.Is(err, ErrNotFound) {
			err = notThere(fmt.Sprintf("no deploy %s in %s: the head is %d", s, c.ns, head.ID))
		}
		return found, err
	case s.Commit() != "":
		return c.findCommit(ctx, head, s)
	}
	id, err := s.Below(head.ID)
	if err != nil {
		return nil, err
	}
	return c.Get(ctx, id)
}

func notThere(what string) error {
	return &fault.Error{Kind: fault.Failed, What: what, Cause: ErrNotFound}
}

// errFound ends a walk down the chain.
var errFound = errors.New("it is found")

// findCommit finds the newest deploy of a commit of which the first digits are given, or all.
func (c *Chain) findCommit(ctx context.Context, head *record.Deploy, s record.Selector) (*record.Deploy, error) {
	var found *record.Deploy
	err := c.Down(ctx, head.ID, func(d *record.Deploy) error {
		digits := strings.TrimPrefix(string(d.Hash), "tree:")
		switch {
		case !strings.HasPrefix(digits, s.Commit()):
			return nil
		case found == nil:
			found = d
		case found.Hash != d.Hash:
			return &fault.Error{
				Kind: fault.Failed, What: fmt.Sprintf("%s is not clear in %s: deploy %d has %s, deploy %d has %s",
					s, c.ns, found.ID, found.Hash, d.ID, d.Hash),
				Remedy: "give more digits",
			}
		}
		if digits == s.Commit() {
			return errFound
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errFound):
		return nil, err
	case found == nil && s.Number() != 0:
		return nil, notThere(fmt.Sprintf("no deploy %s in %s, and none of a commit %s: the head is %d", s, c.ns, s, head.ID))
	case found == nil:
		return nil, notThere(fmt.Sprintf("no deploy in %s of a commit %s: the head is %d, %s", c.ns, text.Clip(s.Commit()),
			head.ID, head.ShortHash()))
	case found.Damage != nil:
		return nil, found.Damage
	}
	return found, nil
}
