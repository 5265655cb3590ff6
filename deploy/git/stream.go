package git

import (
	"bytes"
	"context"
	"io"
	"slices"

	"refship/deploy/tree"
)

// askedAtOnce is how many objects are asked for together: so many that git is hardly ever idle, and so few that what it
// says of their sizes fits a pipe.
const askedAtOnce = 500

// Blobs streams blobs in order, pipelined: fn is called once for each, and need not read all of content, which is good
// until fn returns. The bytes are as git gives them: tree.HashBlob tells whether they are those that the oid names.
//
// fn's error ends the call, which returns it; so does an oid of another object, or of none (the error wraps
// ErrNotFound), perhaps before fn saw the blobs ahead of it. The Repository stays usable, perhaps at the cost of a new
// git process. fn must not call the same Repository: it would wait for itself.
func (r *Repository) Blobs(ctx context.Context, oids []OID, fn func(i int, size int64, content io.Reader) error) error {
	if r.arePushed(oids) {
		return r.eachPushed(ctx, "blob", oids, func(i int, data []byte) error {
			return fn(i, int64(len(data)), bytes.NewReader(data))
		})
	}
	return r.stream(ctx, "blob", oids, func(i int, c *content) error { return fn(i, c.left, c) })
}

// Sizes gives the sizes of blobs in bytes, without reading them. Of the error and the Repository the same is true as
// with Blobs.
func (r *Repository) Sizes(ctx context.Context, oids []OID) ([]int64, error) {
	sizes := make([]int64, 0, len(oids))
	if r.arePushed(oids) {
		err := r.eachPushed(ctx, "blob", oids, func(_ int, data []byte) error {
			sizes = append(sizes, int64(len(data)))
			return nil
		})
		return sizes, err
	}
	err := r.use(ctx, func(p *catFile) error {
		for part := range slices.Chunk(oids, askedAtOnce) {
			infos, err := r.infos(ctx, p, "blob", part)
			if err != nil {
				return err
			}
			for _, info := range infos {
				sizes = append(sizes, info.size)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sizes, nil
}

// Trees gives the entries of trees in order, pipelined, as Tree gives those of one. Of fn and the Repository the same
// is true as with Blobs.
func (r *Repository) Trees(ctx context.Context, oids []OID, fn func(i int, entries []tree.Entry) error) error {
	parsed := func(i int, data []byte) error {
		entries, err := parseTree(oids[i], data)
		if err != nil {
			return err
		}
		return fn(i, entries)
	}
	if r.arePushed(oids) {
		return r.eachPushed(ctx, "tree", oids, parsed)
	}
	return r.stream(ctx, "tree", oids, func(i int, c *content) error {
		data, err := c.all("tree", oids[i])
		if err != nil {
			return err
		}
		return parsed(i, data)
	})
}

// arePushed tells whether all of some objects were read already.
func (r *Repository) arePushed(oids []OID) bool {
	for _, oid := range oids {
		if _, is := r.pushed[oid]; !is {
			return false
		}
	}
	return true
}

// eachPushed is stream of objects that were read already.
func (r *Repository) eachPushed(ctx context.Context, want string, oids []OID, fn func(i int, data []byte) error) error {
	for i, oid := range oids {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		_, data, err := r.read(ctx, want, oid)
		if err != nil {
			return err
		}
		if err := fn(i, data); err != nil {
			return err
		}
	}
	return r.stopped(ctx)
}

// stream asks for objects of a type, and lends fn the bytes of each.
func (r *Repository) stream(ctx context.Context, want string, oids []OID, fn func(i int, c *content) error) error {
	return r.use(ctx, func(p *catFile) error {
		first := 0
		for part := range slices.Chunk(oids, askedAtOnce) {
			err := r.streamPart(ctx, p, want, part, func(i int, c *content) error { return fn(first+i, c) })
			if err != nil {
				return err
			}
			first += len(part)
		}
		return nil
	})
}

// streamPart asks for objects together: first what they are, since git would inflate a whole tree in memory that was
// named as a blob.
func (r *Repository) streamPart(
	ctx context.Context, p *catFile, want string, oids []OID, fn func(int, *content) error,
) error {
	infos, err := r.infos(ctx, p, want, oids)
	if err != nil {
		return err
	}
	p.ask(askContents, oids)
	for i, oid := range oids {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if err := p.lend(oid, infos[i], func(c *content) error { return fn(i, c) }); err != nil {
			return err
		}
	}
	return nil
}

// infos asks what objects of a type are, and refuses what cannot be streamed.
func (r *Repository) infos(ctx context.Context, p *catFile, want string, oids []OID) ([]header, error) {
	if err := r.stopped(ctx); err != nil {
		return nil, err
	}
	infos, err := p.info(oids)
	if err != nil {
		return nil, err
	}
	for i, info := range infos {
		if err := r.fits(ctx, want, oids[i], info, want != "blob"); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// lend lends fn the bytes of one answer.
func (p *catFile) lend(oid OID, info header, fn func(*content) error) error {
	c, err := p.contents(oid, info)
	if err != nil {
		return err
	}
	defer func() { c.over = true }() // deferred, since fn may panic
	if err := fn(c); err != nil {
		return err
	}
	return c.finish()
}
