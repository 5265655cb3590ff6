package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
	"refship/deploy/witness"
)

// cosignatures are those that are there, by the number of deploys that they are over.
type cosignatures map[record.ID][]cosignature

type cosignature struct {
	key string
	of  transparency.Checkpoint
}

// readCosignatures reads what witnesses have cosigned.
func (r *run) readCosignatures(ctx context.Context) error {
	r.log.cosigned = cosignatures{}
	var last record.ID
	err := r.chain.Scan(ctx, "/refship/"+store.CosignaturePrefix, false, func(kv store.KeyValue) {
		c, err := witness.ParseCosignature(kv.Value)
		name := strings.TrimPrefix(kv.Key, r.chain.Key(store.CosignaturePrefix))
		switch {
		case err != nil:
			r.strayKey(kv.Key, err.Error())
		case name != fmt.Sprintf("%d/%s", c.Size, c.Name):
			r.strayKey(kv.Key, fmt.Sprintf("it is the cosignature of %s over %d deploys", c.Name, c.Size))
		case slices.ContainsFunc(r.cfg.Witnesses, func(w witness.Witness) bool { return w.Name == c.Name && !w.Verify(c) }):
			r.strayKey(kv.Key, "the witness of that name has not signed it")
		default:
			r.log.cosigned[c.Size] = append(r.log.cosigned[c.Size], cosignature{kv.Key, c.Checkpoint})
			last = max(last, c.Size)
		}
	})
	if err != nil || last <= r.log.head {
		return err
	}
	state, err := r.chain.State(ctx) // after it: what was published meanwhile may be cosigned
	if err != nil {
		return err
	}
	for size, all := range r.log.cosigned {
		if state.Head == nil || size > state.Head.ID {
			r.tellCosigned(all, fmt.Sprintf("%d deploys were cosigned, and they are not there", size))
		}
	}
	return nil
}

// compareCosigned compares what was cosigned over some deploys with the log of these.
func (r *run) compareCosigned(size record.ID, log *transparency.Tree) {
	all := r.log.cosigned[size]
	if len(all) == 0 {
		return
	}
	root := log.Root()
	for _, c := range all {
		if c.of.Root != root {
			r.tellCosigned([]cosignature{c}, "the history that was cosigned is another one")
		}
	}
}

func (r *run) tellCosigned(all []cosignature, what string) {
	for _, c := range all {
		r.strayKey(c.key, what)
	}
}
