package verify

import (
	"context"
	"fmt"
	"strconv"

	"refship/deploy/record"
)

// rest verifies what else is in the namespace: the hint at the head, what is expired, and that each key belongs to
// something.
func (r *run) rest(ctx context.Context) error {
	if err := r.readCosignatures(ctx); err != nil {
		return err
	}
	r.restOfLog()
	if err := r.hint(ctx); err != nil {
		return err
	}
	if err := r.expiredBelow(ctx); err != nil {
		return err
	}
	return (&keyNames{run: r, later: map[record.ID]string{}}).strays(ctx)
}

// expiredBelow holds NS/refship/expired to ids below the head, which gc always keeps.
func (r *run) expiredBelow(ctx context.Context) error {
	values, err := r.chain.Values(ctx, r.chain.Key(record.ExpiredKey))
	if err != nil || values[0].Revision == 0 {
		return err
	}
	state, err := r.chain.State(ctx) // after it: what was published meanwhile counts
	if err != nil {
		return err
	}
	id, err := record.ParseID(string(values[0].Value))
	if err != nil || state.Head == nil || id >= state.Head.ID {
		r.stray(record.Corrupt(values[0].Key, fmt.Sprintf("it is %s, and no id below the head", quoted(values[0].Value))))
	}
	return nil
}

func quoted(value []byte) string { return strconv.Quote(string(value[:min(len(value), 40)])) }

// maxTries is how often the hint is read again that a publish changes meanwhile.
const maxTries = 5

// hint compares NS/refship/head with the head. Only foreign deploys may be above it: each publish of refship puts it.
func (r *run) hint(ctx context.Context) error {
	key := r.chain.Key("head")
	for range maxTries {
		values, err := r.chain.Values(ctx, key)
		if err != nil {
			return err
		}
		state, err := r.chain.State(ctx)
		if err != nil {
			return err
		}
		head := record.ID(0)
		if state.Head != nil {
			head = state.Head.ID
		}
		id, err := record.ParseID(string(values[0].Value))
		switch {
		case values[0].Revision == 0 && r.records == 0, err == nil && id >= r.records && id <= head:
		case head != r.head:
			r.head = head // what came meanwhile is left out
			continue
		case values[0].Revision == 0:
			r.stray(record.Missing(key))
		default:
			r.stray(record.Corrupt(key, fmt.Sprintf("it is %s, and the head is %d", quoted(values[0].Value), head)))
		}
		return nil
	}
	return nil
}
