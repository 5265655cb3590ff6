package tree

import (
	"context"
	"fmt"
	"io"
)

// Sizes gives the blobs' sizes in bytes, pipelined, without reading content. An oid of something else, or of nothing,
// is an error that names it and wraps ErrNotFound.
func (r *Repository) Sizes(ctx context.Context, oids []OID) ([]int64, error) {
	sizes := make([]int64, len(oids))
	err := r.stream(ctx, "info", oids, func(_ *catFile, i int, h header) error {
		sizes[i] = h.size
		return r.blobOnly(ctx, oids[i], h)
	})
	if err != nil {
		return nil, err
	}
	return sizes, nil
}

// Blobs streams the blobs in order, pipelined: fn is called once for each, and need not read all of content, which is
// good until fn returns. The bytes are as git gives them: HashBlob tells whether they are those that the oid names.
//
// fn's error ends the call, which returns it; so does an oid of something else than a blob, or of nothing (wraps
// ErrNotFound). The Repository stays usable, at the cost of a new git process. fn must not call the
// same Repository: it would wait for itself.
func (r *Repository) Blobs(ctx context.Context, oids []OID, fn func(i int, size int64, content io.Reader) error) error {
	return r.stream(ctx, "contents", oids, func(p *catFile, i int, h header) error {
		if err := r.blobOnly(ctx, oids[i], h); err != nil {
			return err
		}
		c := &content{p: p, left: h.size}
		defer func() { c.over = true }()
		if err := fn(i, h.size, c); err != nil {
			return err
		}
		return c.finish()
	})
}

func (r *Repository) blobOnly(ctx context.Context, oid OID, h header) error {
	switch {
	case h.missing:
		return r.missing(ctx, "blob", oid)
	case h.typ != "blob":
		return notFound("blob", oid, h.typ)
	}
	return nil
}

// stream asks for all oids in one goroutine and reads the answers in this one, so that neither pipe can fill up while
// the other is waited for. each gets every answer's header; content behind it is its to read, with content.finish.
func (r *Repository) stream(ctx context.Context, verb string, oids []OID, each func(p *catFile, i int, h header) error) error {
	if len(oids) == 0 {
		return r.stopped(ctx)
	}
	return r.use(ctx, func(p *catFile) error {
		p.pending = len(oids)
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			p.ask(verb, oids)
		}()
		defer func() { // deferred, since each may panic
			if p.pending > 0 {
				p.kill() // the writer may wait for a git that waits for us
			}
			<-asked
		}()
		for i, oid := range oids {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("read repository %s: %w", r.dir, context.Cause(ctx))
			}
			h, err := p.readHeader(oid)
			if err != nil {
				return err
			}
			if verb == "info" && !h.missing {
				p.pending--
			}
			if err := each(p, i, h); err != nil {
				return err
			}
		}
		return nil
	})
}
