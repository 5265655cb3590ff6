package plan

import (
	"context"
	"io"

	"golang.org/x/sync/errgroup"

	"refship/deploy/etcd"
	"refship/deploy/text"
)

const (
	// lateBytes and lateContents are how much late content is handed on together, unless one content has more.
	lateBytes    = etcd.BatchBytes
	lateContents = etcd.MaxOps
	// maxLate is how large a late content may be: it is held in memory, since its key is known only at its end. What is
	// larger is read a second time when it is put, so it may as well be read early.
	maxLate = 4 << 20
)

// postpone takes from what is planned what waits to be read until it is put: of a tree that does not fit into memory,
// all that cannot be refused for what is in it.
func (p *Plan) postpone() {
	if !p.task.MayWait || p.task.Distrust || p.Frontend.IsMgmt() {
		return // without trust all is compared by its sha256
	}
	var early, late []*content
	bytes := int64(0)
	for _, c := range p.planned {
		if c.link || c.size < maxPointer || c.size > maxLate {
			early = append(early, c)
		} else {
			late = append(late, c)
			bytes += c.size
		}
	}
	if bytes > keepBytes {
		p.planned, p.late, p.AtMost = early, late, true
	}
}

// Settle reads what is late now, so that the Summary is exact.
func (p *Plan) Settle(ctx context.Context) error {
	if p.late == nil {
		return nil
	}
	if err := p.readContents(ctx, p.late, func(text.Progress) {}); err != nil {
		return err
	}
	for _, c := range p.late {
		p.countContent(c, -1)
	}
	if err := p.findMissing(ctx, p.late); err != nil {
		return err
	}
	return p.noneLate(ctx)
}

// noneLate finishes the nodes, once all contents were read.
func (p *Plan) noneLate(ctx context.Context) error {
	p.countNodes(-1)
	p.fillNodes()
	p.late, p.AtMost = nil, false
	err := p.findNodes(ctx)
	if err != nil {
		p.countNodes(1) // Put may be called again, and puts all of them then
	}
	return err
}

// IsAlone says that etcd has nothing in the namespace, so that it need not be asked for what it has.
func (p *Plan) IsAlone() { p.isAlone, p.AtMost = true, false }

// putLate reads what is late, and puts what etcd lacks of it while the next is read.
func (p *Plan) putLate(ctx context.Context, w *etcd.Writer, tell func()) error {
	batches := make(chan []*content)
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return p.readLate(both, batches) })
	group.Go(func() error {
		for batch := range batches {
			if err := p.putBatch(both, w, batch); err != nil {
				return err
			}
			tell()
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, c := range p.late {
		if c.found == isLacking {
			p.missing = append(p.missing, c)
		}
	}
	return p.noneLate(ctx)
}

// readLate reads what is late, and hands it on in batches.
func (p *Plan) readLate(ctx context.Context, batches chan<- []*content) error {
	defer close(batches)
	var batch []*content
	bytes := int64(0)
	send := func() error {
		select {
		case batches <- batch:
			batch, bytes = nil, 0
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err := p.task.Source.Blobs(ctx, oidsOf(p.late), func(i int, size int64, r io.Reader) error {
		c := p.late[i]
		c.kept = make([]byte, c.size)
		if err := p.readContent(c, size, r); err != nil {
			return err
		}
		if len(batch) == lateContents || len(batch) > 0 && bytes+c.size > lateBytes {
			if err := send(); err != nil {
				return err
			}
		}
		batch, bytes = append(batch, c), bytes+c.size
		return nil
	})
	if err == nil && len(batch) > 0 {
		err = send()
	}
	return err
}

// putBatch puts what etcd lacks of some contents that were read.
func (p *Plan) putBatch(ctx context.Context, w *etcd.Writer, batch []*content) error {
	if err := p.ask(ctx, batch); err != nil {
		return err
	}
	for _, c := range batch {
		if c.found == isLacking {
			if err := putChunks(w, c.keys(p.task.Chain), c.kept); err != nil {
				return err
			}
		}
		c.kept = nil
	}
	return nil
}

// ask asks etcd which contents it has, those that were not asked for yet: what an earlier try has put is counted.
func (p *Plan) ask(ctx context.Context, batch []*content) error {
	var asked []*content
	for _, c := range batch {
		if c.found == unasked {
			asked = append(asked, c)
		}
	}
	stored := make([]bool, len(asked))
	if !p.isAlone {
		var err error
		if stored, err = p.areStored(ctx, asked); err != nil {
			return err
		}
	}
	for i, c := range asked {
		if c.found = isLacking; stored[i] {
			c.found = isThere
			p.countContent(c, -1)
		}
	}
	return nil
}
