package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// inTree is a name in a tree.
type inTree struct {
	tree tree.OID
	name string
}

// gitObjects verifies commits, the way to paths, ancestry, and what git signed.
func (r *run) gitObjects(ctx context.Context, block []*Deploy) error {
	deploys := make([]*record.Deploy, len(block))
	for i, d := range block {
		deploys[i] = d.Deploy
	}
	if err := r.commits.Prefetch(ctx, deploys); err != nil {
		return err
	}
	for _, d := range block {
		if d.Record == nil {
			continue
		}
		if err := r.commit(ctx, d); err != nil {
			return err
		}
	}
	var writing sync.Mutex // of answers and findings, and of what is known
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for _, d := range block {
		if d.Record == nil || d.Answers[Commit] != Holds {
			continue
		}
		group.Go(func() error {
			return errors.Join(r.path(ctx, d, &writing), r.commitSignature(ctx, d, &writing), r.tag(ctx, d, &writing),
				r.certificate(ctx, d, &writing))
		})
	}
	return group.Wait()
}

// commit verifies a deploy's commit and its ancestry.
func (r *run) commit(ctx context.Context, d *Deploy) error {
	if d.Hash.IsTree() {
		return nil // the record's bounds say that it is the tree
	}
	c, err := r.commits.Commit(d.Hash.OID())
	if err != nil {
		d.Answers[Ancestry] = NotChecked
		return r.fail(d, Commit, err)
	}
	d.Answers[Commit] = Holds
	if d.Record.Path == "" && c.Tree != d.Record.Tree {
		if err := r.fail(d, Commit, r.otherTree(d, c.Tree)); err != nil {
			return err
		}
	}
	known, err := r.commits.Ancestry(ctx, d.Deploy)
	switch {
	case err != nil:
		return r.fail(d, Ancestry, err)
	case known:
		d.Answers[Ancestry] = Holds
	case d.Record.PreviousHash != "" && d.Record.PreviousHash != d.Hash:
		d.Answers[Ancestry] = NotStored
	}
	return nil
}

func (r *run) otherTree(d *Deploy, is tree.OID) error {
	where := "its commit"
	if d.Record.Path != "" {
		where = fmt.Sprintf("at %q its commit", d.Record.Path)
	}
	return record.Corrupt(r.chain.DeployKey(d.ID, record.KeyRecord), fmt.Sprintf("%s %s has the tree %s, and it names %s",
		where, d.Hash.Short(), is, d.Record.Tree))
}

// path verifies that the trees from the commit's own down to the path lead to the record's.
func (r *run) path(ctx context.Context, d *Deploy, writing *sync.Mutex) error {
	if d.Record.Path == "" {
		return nil
	}
	c, err := r.commits.Commit(d.Hash.OID())
	if err != nil {
		return err
	}
	at := c.Tree
	for _, name := range strings.Split(d.Record.Path, "/") {
		next, err := r.inTree(ctx, inTree{at, name}, writing)
		if err != nil {
			return r.failBeside(d, Commit, err, writing)
		}
		at = next
	}
	if at != d.Record.Tree {
		return r.failBeside(d, Commit, r.otherTree(d, at), writing)
	}
	return nil
}

// failBeside is fail while others write.
func (r *run) failBeside(d *Deploy, check Check, err error, writing *sync.Mutex) error {
	writing.Lock()
	defer writing.Unlock()
	return r.fail(d, check, err)
}

// inTree finds a directory in a tree that is stored as git has it.
func (r *run) inTree(ctx context.Context, at inTree, writing *sync.Mutex) (tree.OID, error) {
	writing.Lock()
	found := r.trees[at]
	writing.Unlock()
	if !found.IsZero() {
		return found, nil
	}
	data, err := r.chain.Object(ctx, "tree", at.tree)
	if err != nil {
		return found, err
	}
	entries, err := tree.ParseTree(data, at.tree.Format())
	if err != nil {
		return found, record.Corrupt(r.chain.ObjectKey(at.tree), err.Error())
	}
	if found = tree.DirectoryIn(entries, at.name); found.IsZero() {
		return found, record.Corrupt(r.chain.ObjectKey(at.tree), fmt.Sprintf("it has no directory %q", at.name))
	}
	writing.Lock()
	r.trees[at], r.objects[at.tree] = found, true
	writing.Unlock()
	return found, nil
}

// maxTags is how many annotated tags are followed, each of the next.
const maxTags = 10

// tag verifies the annotated tags that asked for a deploy: they lead to its commit, and the first is signed by the key
// that the record names.
func (r *run) tag(ctx context.Context, d *Deploy, writing *sync.Mutex) error {
	named := d.Record.Tag
	if named.OID == "" {
		return nil
	}
	is := signature{Answer: NotChecked}
	at, _ := tree.ParseOID(named.OID) // the record's bounds say that it is one
	for i := 0; at != d.Hash.OID(); i++ {
		data, err := r.chain.Object(ctx, "tag", at)
		if err != nil {
			return r.failBeside(d, Tag, err, writing)
		}
		if i == 0 {
			signed, armored := tree.SignedTag(data)
			if is, err = r.gitSignature(ctx, signed, armored, times(d, data)...); err != nil {
				return err
			}
			if named.Key != "" && is.key != named.Key {
				return r.failBeside(d, Tag, record.Corrupt(r.chain.ObjectKey(at), "it is not signed by "+named.Key+
					", as the record says"), writing)
			}
		}
		writing.Lock()
		r.objects[at] = true
		writing.Unlock()
		next, err := tree.OfTag(data, at.Format())
		if err != nil || i == maxTags {
			return r.failBeside(d, Tag, record.Corrupt(r.chain.ObjectKey(at), "it does not lead to the commit "+
				string(d.Hash)), writing)
		}
		at = next
	}
	writing.Lock()
	is.answer(d, Tag)
	writing.Unlock()
	return nil
}

// certificate verifies the push certificate that a record names: its signature covers it, and it asks for this deploy.
func (r *run) certificate(ctx context.Context, d *Deploy, writing *sync.Mutex) error {
	if d.Record.PushCertificate == "" {
		return nil
	}
	oid, _ := tree.ParseOID(d.Record.PushCertificate) // as in tag
	data, err := r.chain.Object(ctx, "blob", oid)
	if err != nil {
		return r.failBeside(d, Certificate, err, writing)
	}
	signed, armored := tree.SignedTag(data)
	is, err := r.gitSignature(ctx, signed, armored, d.Record.Time)
	if err != nil {
		return err
	}
	if is.Answer == UnknownKey && is.key == d.Record.Pusher.Key { // whose key that is, only the server's word says
		is.Answer, is.by = Holds, "the key that logged in, "+is.key
	}
	c, err := record.ParseCertificate(data)
	writing.Lock()
	defer writing.Unlock()
	r.objects[oid] = true
	fail := func(what string) error {
		return r.fail(d, Certificate, record.Corrupt(r.chain.ObjectKey(oid), what))
	}
	switch {
	case is.Answer == Fails || is.Answer == None:
		return fail("its signature does not cover it")
	case err != nil:
		return fail(err.Error())
	}
	if lacks := c.Asks(d.Record); lacks != "" {
		return fail("it does not ask for " + text.Printable(lacks) + ", as the record says")
	}
	is.answer(d, Certificate)
	return nil
}

// flawOf tells what a fault.Corrupt is about.
func flawOf(err error) flaw {
	if errors.Is(err, record.ErrMissing) && fault.Is(err, fault.Corrupt) {
		return missing
	}
	return wrong
}
