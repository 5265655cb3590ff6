package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// mgmtParts verifies what mgmt reads of deploys.
func (r *run) mgmtParts(ctx context.Context, block []*Deploy) error {
	for _, d := range block {
		var err error
		switch {
		case d.Damage != nil:
		case d.Record == nil:
			err = r.foreign(ctx, d)
		case d.Record.Frontend.IsMgmt():
			err = r.mgmt(ctx, d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxNodes bounds the memory that nodes take which are kept for the next deploys of mgmt's, in bytes.
const maxNodes = 64 << 20

// keepNodes gives nodes that are kept, as far as they do not take too much.
func (r *run) keepNodes() *store.Nodes {
	if r.nodes == nil || r.held > maxNodes {
		r.held = 0
		r.nodes = r.chain.NewNodesWithin(func(_ context.Context, bytes int64) error {
			r.held += bytes
			return nil
		})
	}
	return r.nodes
}

// mgmt verifies payload and superblock of a deploy that has a record.
func (r *run) mgmt(ctx context.Context, d *Deploy) error {
	d.Answers[Mgmt] = Holds
	payload, _, err := r.chain.MgmtPayload(ctx, d.Deploy)
	if err != nil {
		return r.fail(d, Mgmt, err)
	}
	if payload.HasFiles() {
		r.nameBlock(payload, false)
	}
	if d.Answers[Tree] != Holds || d.Answers[Contents] != Holds {
		d.Answers[Mgmt] = NotChecked // the superblock is made of them
		return nil
	}
	parts, err := r.keepNodes().MgmtParts(ctx, d.Deploy)
	if fault.Is(err, fault.Refused) && !errors.Is(err, etcd.ErrDenied) {
		err = record.Corrupt(r.chain.DeployKey(d.ID, record.KeyRecord), "mgmt cannot run its tree: "+err.Error())
	}
	if err != nil {
		return r.fail(d, Mgmt, err)
	}
	for _, part := range parts {
		if part.Value == nil {
			err = r.uncut(ctx, d, part.File.SHA256)
		} else {
			err = r.part(ctx, d, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nameBlock notes that a payload names a superblock, and whether that is there.
func (r *run) nameBlock(payload *mgmt.Payload, isThere bool) {
	key := string(r.chain.Namespace()) + payload.SuperblockPath()
	r.blocks[key] = r.blocks[key] || isThere
}

// part verifies a value that is made of the tree.
func (r *run) part(ctx context.Context, d *Deploy, part *store.MgmtPart) error {
	values, err := r.chain.Values(ctx, part.Key)
	switch {
	case err != nil:
		return err
	case values[0].Revision == 0:
		return r.mgmtLacks(ctx, d, record.Missing(part.Key))
	case !part.Holds(values[0].Value):
		return r.fail(d, Mgmt, record.Corrupt(part.Key, "it is not what the record's tree gives"))
	}
	r.result.Keys++
	r.result.Bytes += int64(len(values[0].Value))
	if _, isBlock := r.blocks[part.Key]; isBlock {
		r.blocks[part.Key] = true
	} else {
		r.things.uncut[sha256.Sum256(values[0].Value)] = nil
	}
	return nil
}

// mgmtLacks says that something is missing which mgmt needs.
func (r *run) mgmtLacks(ctx context.Context, d *Deploy, err error) error {
	expired, whyNot := r.isExpired(ctx, d.ID)
	if whyNot != nil {
		return whyNot
	}
	if expired {
		r.lacks(d, Mgmt)
		return nil
	}
	return r.fail(d, Mgmt, err)
}

// uncut verifies a content that mgmt reads at one key, however large it is.
func (r *run) uncut(ctx context.Context, d *Deploy, sums ...tree.SHA256) error {
	var toRead []tree.SHA256
	for _, sum := range sums {
		if i, ok := r.things.contents[sum]; ok && r.things.list[i].size <= tree.ChunkSize {
			if err := r.things.errs[i]; err != nil {
				r.things.uncut[sum] = err
				continue
			}
			if r.things.list[i].flaw == 0 {
				r.things.uncut[sum] = nil
			}
		}
		if _, ok := r.things.uncut[sum]; !ok {
			r.things.uncut[sum] = errNotRead
			toRead = append(toRead, sum)
		}
	}
	for some := range slices.Chunk(toRead, readsAtOnce) { // mgmt's contents have up to 1.5 MiB each
		keys := make([]string, len(some))
		for i, sum := range some {
			keys[i] = r.chain.ContentKey(sum)
		}
		values, err := r.chain.Values(ctx, keys...)
		if err != nil {
			return err
		}
		for i, sum := range some {
			r.things.uncut[sum] = r.uncutFlaw(sum, values[i])
		}
	}
	for _, sum := range sums {
		err := r.things.uncut[sum]
		switch {
		case err == nil:
		case errors.Is(err, record.ErrMissing):
			err = r.mgmtLacks(ctx, d, err)
		default:
			err = r.fail(d, Mgmt, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNotRead = errors.New("it is not read yet")

func (r *run) uncutFlaw(sum tree.SHA256, value store.KeyValue) error {
	switch is := tree.SHA256(sha256.Sum256(value.Value)); {
	case value.Revision == 0:
		return record.Missing(value.Key)
	case is != sum:
		return record.Corrupt(value.Key, fmt.Sprintf("the content does not match: it is sha256 %s", is))
	}
	r.result.Keys++
	r.result.Bytes += int64(len(value.Value))
	r.tell(1, int64(len(value.Value)))
	return nil
}

// foreign reads what mgmt itself deployed. Its contents are compared with the sha256 that the superblock names; nothing
// vouches for that one.
func (r *run) foreign(ctx context.Context, d *Deploy) error {
	d.Answers[Mgmt] = Holds
	f, err := r.chain.Foreign(ctx, d.Deploy)
	if err != nil {
		if errors.Is(err, record.ErrMissing) {
			return r.mgmtLacks(ctx, d, err)
		}
		return r.fail(d, Mgmt, err)
	}
	if f.Payload.HasFiles() {
		r.nameBlock(f.Payload, true)
	}
	nothing := tree.SHA256(sha256.Sum256(nil)) // it need not be there
	seen := map[tree.SHA256]bool{nothing: true}
	var sums []tree.SHA256
	var collect func(f *mgmt.File)
	collect = func(f *mgmt.File) {
		if !f.Mode.IsDir() && !seen[f.SHA256] {
			seen[f.SHA256] = true
			sums = append(sums, f.SHA256)
		}
		for _, child := range f.Children {
			collect(child)
		}
	}
	for _, child := range f.Root.Children { // without a superblock the root is no directory
		collect(child)
	}
	return r.uncut(ctx, d, sums...)
}
