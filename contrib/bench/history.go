package main

import (
	"context"
	"os"
)

// young is how many pushes the young repository has had.
const young = 10

// history measures a repository that many pushes came to, each a deploy, beside one that had ten. Its clones are
// compared with those of the same commits in one pack: however they came, they have to be sent.
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
		for _, i := range b.turns(len(names), round) {
			if err := b.more(ctx, repos[i], peers[0], names[i], round); err != nil {
				return err
			}
		}
	}
	for round := range b.rounds {
		for _, i := range b.turns(len(names), round) {
			out, err := run(b.embedded.refship(ctx, "log", "-n", "20", names[i]))
			if err != nil {
				return err
			}
			b.ms("log -n 20 after many", "S", names[i], out.took)
		}
	}
	return b.clones(ctx, repos[1])
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

// more measures one push more.
func (b *meter) more(ctx context.Context, r *repository, p peer, name string, round int) error {
	if err := r.change(ctx, b.world, r.dir, b.pushes+round); err != nil {
		return err
	}
	out, err := b.push(ctx, r, 0, p)
	if err != nil {
		return err
	}
	b.ms("push after many", "S", name, out.took)
	return nil
}

// clones measures clones of a repository as it is, and of one that got all of its commits with one push.
func (b *meter) clones(ctx context.Context, r *repository) error {
	peers := []peer{b.embedded.peer(plainName, false)}
	one := &repository{corpus: r.corpus, dir: r.dir}
	if err := one.homesAt(ctx, "one-pack", peers); err != nil {
		return err
	}
	if _, err := b.push(ctx, one, 0, peers[0]); err != nil {
		return err
	}
	urls := []string{r.urls[0], one.urls[0]}
	for round := range b.rounds {
		for _, i := range b.turns(len(urls), round) {
			dir := b.in("cloned")
			out, err := run(b.command(ctx, peers[0].env, "git", "clone", "--quiet", urls[i], dir))
			if err != nil {
				return err
			}
			b.ms("clone after many", "S", []string{"old", "one pack"}[i], out.took)
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}
