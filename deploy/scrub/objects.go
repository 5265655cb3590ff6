package scrub

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// objects checks the head's commit, and with a path the trees from the commit's down to it. They are addressed by
// their git hash, so that each vouches for the next.
func (s *scrub) objects(ctx context.Context) error {
	r := s.head.Record
	if s.head.Hash.IsTree() {
		return nil
	}
	commit, err := s.object(ctx, "commit", s.head.Hash.OID())
	if err != nil || commit == nil {
		return err
	}
	at, err := tree.OfCommit(commit, s.head.Hash.OID().Format())
	if err != nil {
		return s.misled(fmt.Errorf("commit %s names no tree: %w", s.head.Hash.Short(), err))
	}
	if r.Path != "" {
		for _, name := range strings.Split(r.Path, "/") {
			data, err := s.object(ctx, "tree", at)
			if err != nil || data == nil {
				return err
			}
			entries, err := tree.ParseTree(data, at.Format())
			if err != nil {
				return s.misled(fmt.Errorf("tree %s: %w", at, err))
			}
			at = tree.DirectoryIn(entries, name)
			if at.IsZero() {
				return s.misled(fmt.Errorf("commit %s has no directory %q", s.head.Hash.Short(), r.Path))
			}
		}
	}
	if at != r.Tree {
		return s.misled(fmt.Errorf("commit %s has the tree %s there, the record names %s", s.head.Hash.Short(), at, r.Tree))
	}
	return nil
}

// misled tells of a head whose record does not fit its commit: what it names is read, and nothing is repaired.
func (s *scrub) misled(why error) error {
	s.unfit = why
	s.fail(s.chain.DeployKey(s.head.ID, record.KeyRecord), "", "it does not fit its commit", why)
	return nil
}

// object checks a git object and gives it without its header; nil if it is beyond repair.
func (s *scrub) object(ctx context.Context, kind string, oid tree.OID) ([]byte, error) {
	key := s.chain.ObjectKey(oid)
	values, err := s.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if data := tree.ParseObject(values[0].Value, kind, oid); data != nil {
		return data, nil
	}
	git, err := s.repository(ctx)
	var raw []byte
	if err == nil {
		raw, err = git.repo.Raw(oid)
	}
	data := tree.ParseObject(raw, kind, oid)
	if err == nil && data == nil {
		err = errors.New("git has another object there")
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s.fail(key, "", damageOf(values[0]), err)
		return nil, nil
	}
	return data, s.put(ctx, key, "", raw)
}
