package main

import (
	"context"
	"os"
)

// young is how many pushes the young repository has had.
const young = 10

// history measures a repository that many pushes came to, each a deploy, beside one that had ten.
func (b *meter) history(ctx context.Context) error {
	peers := b.peers[:1]
	names := []string{"young", "old"}
	repos := make([]*repository, len(names))
	for i, count := range []int{young, b.pushes} {
		var err error
		if repos[i], err = b.filled(ctx, names[i], count, peers); err != nil {
			return err
		}
	}
	for round := range b.rounds {
		for _, i := range rotated(len(names), round) {
			if err := b.look(ctx, repos[i], peers[0], names[i], round); err != nil {
				return err
			}
		}
	}
	return nil
}

// filled makes a repository and pushes to it count times.
func (b *meter) filled(ctx context.Context, name string, count int, peers []peer) (*repository, error) {
	r, err := b.source(ctx, "S", name, peers)
	if err != nil {
		return nil, err
	}
	// What the pusher's own repository has become is not what is measured.
	repack := func() error {
		_, err := run(b.command(ctx, nil, "git", "-C", r.dir, "repack", "-adq"))
		return err
	}
	for n := range count {
		if n > 0 {
			if err := r.change(ctx, b.world, r.dir, n); err != nil {
				return nil, err
			}
		}
		if n > 0 && n%1000 == 0 {
			b.say("%d pushes", n)
			if err := repack(); err != nil {
				return nil, err
			}
		}
		if _, err := b.push(ctx, r, 0, peers[0]); err != nil {
			return nil, err
		}
	}
	return r, repack()
}

// look measures a push, the log and a clone of one repository.
func (b *meter) look(ctx context.Context, r *repository, p peer, name string, round int) error {
	if err := r.change(ctx, b.world, r.dir, b.pushes+round); err != nil {
		return err
	}
	out, err := b.push(ctx, r, 0, p)
	if err != nil {
		return err
	}
	b.ms("push after many", "S", name, out.took)
	if out, err = run(b.embedded.refship(ctx, "log", "-n", "20", name)); err != nil {
		return err
	}
	b.ms("log -n 20 after many", "S", name, out.took)
	dir := b.in("cloned")
	if out, err = run(b.command(ctx, p.env, "git", "clone", "--quiet", r.urls[0], dir)); err != nil {
		return err
	}
	b.ms("clone after many", "S", name, out.took)
	return os.RemoveAll(dir)
}
