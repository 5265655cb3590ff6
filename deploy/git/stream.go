package git

import (
	"context"
	"io"
)

// Blobs streams blobs in order, pipelined: fn is called once for each, and need not read all of content, which is good
// until fn returns. The bytes are as git gives them: tree.HashBlob tells whether they are those that the oid names.
//
// fn's error ends the call, which returns it; so does an oid of another object, or of none (the error wraps
// ErrNotFound). The Repository stays usable, at the cost of a new git process. fn must not call the same Repository:
// it would wait for itself.
func (r *Repository) Blobs(ctx context.Context, oids []OID, fn func(i int, size int64, content io.Reader) error) error {
	if len(oids) == 0 {
		return r.stopped(ctx)
	}
	return r.use(ctx, func(p *catFile) error {
		p.pending = len(oids)
		// Asking and reading at the same time, so that neither pipe fills up while the other is waited for.
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			p.ask(oids)
		}()
		defer func() { // deferred, since fn may panic
			if p.pending > 0 {
				p.kill() // ask may wait for a git that waits for this reader
			}
			<-asked
		}()
		for i, oid := range oids {
			if err := r.stopped(ctx); err != nil {
				return err
			}
			err := r.blob(ctx, p, oid, func(size int64, content io.Reader) error { return fn(i, size, content) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// blob reads one answer, of a blob.
func (r *Repository) blob(ctx context.Context, p *catFile, oid OID, fn func(int64, io.Reader) error) error {
	h, err := p.readHeader(oid)
	switch {
	case err != nil:
		return err
	case h.missing:
		return r.missing(ctx, "blob", oid)
	case h.typ != "blob":
		return notFound("blob", oid, h.typ)
	}
	c := &content{p: p, left: h.size}
	defer func() { c.over = true }()
	if err := fn(h.size, c); err != nil {
		return err
	}
	return c.finish()
}
