package git

import (
	"context"
	"fmt"

	"refship/deploy/tree"
)

// maxTags is how many annotated tags are followed, each of the next.
const maxTags = 10

// Tag is an annotated tag.
type Tag struct {
	OID  OID
	Data []byte // of the object, without its header
}

// Peel follows annotated tags to what they name. There are no tags where oid names another object, which is not looked
// at then. The error wraps ErrNotFound if something on the way is not there.
func (r *Repository) Peel(ctx context.Context, oid OID) (tags []Tag, at OID, err error) {
	for at = oid; ; {
		kind, err := r.kind(ctx, at)
		if err != nil || kind != "tag" {
			return tags, at, err
		}
		if len(tags) == maxTags {
			return nil, OID{}, fmt.Errorf("read tag %s: it is a tag of a tag, %d times", oid, maxTags)
		}
		_, data, err := r.read(ctx, "tag", at)
		if err != nil {
			return nil, OID{}, err
		}
		tags = append(tags, Tag{OID: at, Data: data})
		if at, err = tree.OfTag(data, at.Format()); err != nil {
			return nil, OID{}, fmt.Errorf("read tag %s: %w", oid, err)
		}
	}
}

// kind is the type of an object.
func (r *Repository) kind(ctx context.Context, oid OID) (kind string, err error) {
	if o, is := r.pushed[oid]; is {
		return o.typ, nil
	}
	err = r.use(ctx, func(p *catFile) error {
		infos, err := p.info([]OID{oid})
		if err == nil {
			err = r.fits(ctx, "", oid, infos[0], false)
		}
		if err == nil {
			kind = infos[0].typ
		}
		return err
	})
	return kind, err
}

// Signed cuts a tag into what is signed and the SSH signature, nil if it has none.
func (t *Tag) Signed() (signed, signature []byte) { return tree.SignedTag(t.Data) }
