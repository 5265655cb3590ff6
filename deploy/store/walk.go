package store

import (
	"context"
	"fmt"
	"time"

	"refship/deploy/record"
)

// maxMissing is how many deploys in a row may be missing before a walk ends: an id far above all others is put easily.
const maxMissing = 1000

// walk goes down a chain, deploy by deploy, and compares each record with the ones below. Deploys that are missing
// count as damaged.
type walk struct {
	chain   *Chain
	read    []*record.Deploy // what was read and not passed yet, from the newest down
	next    record.ID        // to read; 0: there is none
	above   *record.Record   // the last sound one that was passed
	missing int              // how many in a row were missing, up to the last that was read
	reads   int              // how often it has read
}

// walk begins at a deploy, which need not exist. The one below is read with it.
func (c *Chain) walk(ctx context.Context, id record.ID) (*walk, error) {
	w := &walk{chain: c}
	deploys, err := c.deploys(ctx, []record.ID{id, id - 1}[:min(2, id)])
	if err == nil {
		w.add(deploys, id)
	}
	return w, err
}

// add appends deploys that were read, of which the first has this id. nil is one that is missing.
func (w *walk) add(deploys []*record.Deploy, first record.ID) {
	for i, d := range deploys {
		id := first - record.ID(i)
		if d == nil {
			d = w.chain.missing(id)
			w.missing++
		} else {
			w.missing = 0
		}
		w.read = append(w.read, d)
		w.next = id - 1
	}
}

// isCut tells whether the walk ends above deploys that may be there.
func (w *walk) isCut() bool { return w.missing >= maxMissing && w.next > 0 }

// at gives the i-th deploy below where the walk is, nil below the last.
func (w *walk) at(ctx context.Context, i int) (*record.Deploy, error) {
	for i >= len(w.read) && w.next > 0 && !w.isCut() {
		w.reads++ // a long walk reads more at a time, a short one not too much
		var ids []record.ID
		for id := w.next; id > 0 && len(ids) < deploysPerRead*min(w.reads, readsAtOnce); id-- {
			ids = append(ids, id)
		}
		deploys, err := w.chain.deploys(ctx, ids)
		if err != nil {
			return nil, err
		}
		w.add(deploys, ids[0])
	}
	if i >= len(w.read) {
		return nil, nil
	}
	return w.read[i], nil
}

// linked gives the next deploy, nil at the end. Its record was compared with the newest sound one below.
func (w *walk) linked(ctx context.Context) (*record.Deploy, error) {
	d, err := w.at(ctx, 0)
	if err != nil || d == nil {
		return nil, err
	}
	if err := w.link(ctx, d); err != nil {
		return nil, err
	}
	if d.Record != nil {
		w.above = d.Record
	}
	w.read[0] = nil
	w.read = w.read[1:]
	return d, nil
}

// link compares a deploy's record with those below. One that does not fit makes the deploy damaged: it may be another
// chain's.
func (w *walk) link(ctx context.Context, d *record.Deploy) error {
	if d.Record == nil {
		if d.Damage == nil && w.isFiles() {
			d.Damage = record.Corrupt(w.chain.DeployKey(d.ID, record.KeyRecord), "the record is missing")
		}
		return nil
	}
	damage, restarts, err := w.compare(ctx, d.Record)
	if damage != "" {
		d.Record, d.Damage = nil, record.Corrupt(w.chain.DeployKey(d.ID, record.KeyRecord), damage)
	}
	d.Restarts = restarts
	return err
}

// isFiles tells whether the next record above or below, as far as that was read, is of refship's own frontend: mgmt,
// which writes deploys without a record, does not read such a chain.
func (w *walk) isFiles() bool {
	r := w.above
	for i := 0; r == nil && i < len(w.read); i++ {
		r = w.read[i].Record
	}
	return r != nil && !r.Frontend.IsMgmt()
}

// compare says what is wrong with a record, seen from those below, and whether it begins a chain above other records.
// A record names the newest sound one below and has its chain id. A forced one may pass over others: they were damaged
// when it was published. What it names may be damaged or missing by now: then that is not compared. Its time is not
// before that of the newest sound record below: a signer whose time is over cannot sign as of earlier on top.
func (w *walk) compare(ctx context.Context, r *record.Record) (damage string, restarts bool, err error) {
	names := r.PreviousRecord
	below, i := (*record.Deploy)(nil), 1
	for ; ; i++ {
		if below, err = w.at(ctx, i); err != nil || below == nil || below.ID == names.ID {
			break
		}
		if below.Record != nil && !r.Forced {
			return fmt.Sprintf("it passes over the record of deploy %d, and is not forced", below.ID), false, nil
		}
		if damage := isEarlier(r, below); damage != "" {
			return damage, false, nil
		}
		restarts = restarts || below.RecordBytes != nil || below.Damage != nil
	}
	switch {
	case err != nil || names.ID == 0:
		return "", restarts, err
	case below != nil && below.RecordBytes == nil && below.Damage == nil && r.Frontend.IsMgmt():
		return fmt.Sprintf("it names the record of deploy %d, which has none", names.ID), false, nil
	case below != nil && below.Record != nil && record.Sum(below.RecordBytes) != names.SHA256:
		return fmt.Sprintf("it names the record of deploy %d by another sha256", names.ID), false, nil
	}
	for ; below != nil && err == nil; i++ {
		if below.Record != nil && below.Record.Chain != r.Chain {
			return fmt.Sprintf("it is of the chain %s, and deploy %d below of the chain %s",
				r.Chain, below.ID, below.Record.Chain), false, nil
		}
		if below.Record != nil {
			return isEarlier(r, below), false, nil
		}
		below, err = w.at(ctx, i+1)
	}
	return "", false, err
}

// isEarlier says that a record is of a time before that of a deploy below; "" if it is not, or that has no record.
func isEarlier(r *record.Record, below *record.Deploy) string {
	if below.Record == nil || !r.Time.Before(below.Record.Time) {
		return ""
	}
	return fmt.Sprintf("its time is %s, before that of deploy %d, %s", r.Time.UTC().Format(time.RFC3339Nano), below.ID,
		below.Record.Time.UTC().Format(time.RFC3339Nano))
}

// down calls fn for the deploys from an id down, for at most limit of them (0: all).
func (c *Chain) down(ctx context.Context, id record.ID, limit int, fn func(*record.Deploy) error) error {
	w, err := c.walk(ctx, id)
	if err != nil {
		return err
	}
	for n := 0; limit == 0 || n < limit; n++ {
		d, err := w.linked(ctx)
		switch {
		case err != nil:
			return err
		case d == nil && w.isCut():
			what := fmt.Sprintf("from here up %d deploys are missing; what is below was not read", w.missing)
			return record.Corrupt(c.DeployKey(w.next+1, record.KeyRecord), what)
		case d == nil:
			return nil
		}
		if err := fn(d); err != nil {
			return err
		}
	}
	return nil
}
