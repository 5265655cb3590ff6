package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// repository is a bare repository that pushes come from, and where they go to at each peer.
type repository struct {
	corpus
	dir   string
	urls  []string // of each peer
	homes []string // where that is on this machine
}

// source makes a repository with one commit of a corpus, and an empty one at each peer.
func (b *meter) source(ctx context.Context, size, name string, peers []peer) (r *repository, err error) {
	r = &repository{corpus: corpora[size], dir: b.in("source", name)}
	if _, err = run(b.command(ctx, nil, "git", "init", "--quiet", "--bare", r.dir)); err != nil {
		return nil, err
	}
	// git gc in the midst of a push would be measured with it.
	if _, err = run(b.command(ctx, nil, "git", "-C", r.dir, "config", "gc.auto", "0")); err != nil {
		return nil, err
	}
	if err = r.commit(ctx, b.world, r.dir, 1); err != nil {
		return nil, err
	}
	return r, r.homesAt(ctx, name, peers)
}

// homesAt makes an empty repository at each peer.
func (r *repository) homesAt(ctx context.Context, name string, peers []peer) error {
	r.urls, r.homes = nil, nil
	for _, p := range peers {
		url, home, err := p.make(ctx, name)
		if err != nil {
			return err
		}
		r.urls, r.homes = append(r.urls, url), append(r.homes, home)
	}
	return nil
}

// push pushes main to a peer, and looks that it has arrived.
func (b *meter) push(ctx context.Context, r *repository, i int, p peer) (outcome, error) {
	out, err := run(b.command(ctx, p.env, "git", "-C", r.dir, "push", r.urls[i], "main"))
	if err != nil {
		return out, err
	}
	want, err := run(b.command(ctx, nil, "git", "-C", r.dir, "rev-parse", "main"))
	if err != nil {
		return out, err
	}
	have, err := run(b.command(ctx, nil, "git", "-C", r.homes[i], "rev-parse", "main"))
	if err == nil && have.stdout != want.stdout {
		err = fmt.Errorf("%s has %s after a push of %s", p.name, strings.TrimSpace(have.stdout), want.stdout)
	}
	return out, err
}

var published = regexp.MustCompile(`deploy \d+ published in ([^:]+):`)

// deployed gives what refship says that its deploy phase took.
func deployed(said string) (time.Duration, error) {
	found := published.FindStringSubmatch(said)
	if found == nil {
		return 0, fmt.Errorf("the push has published no deploy; it said:\n%s", said)
	}
	return time.ParseDuration(strings.ReplaceAll(found[1], " ", ""))
}

// oneFile measures pushes of one changed file, and pushes of nothing after them.
func (b *meter) oneFile(ctx context.Context) error {
	for _, size := range b.sizes {
		r, err := b.source(ctx, size, "one-"+strings.ToLower(size), b.peers)
		if err != nil {
			return err
		}
		b.say("%s", r.describe())
		for i, p := range b.peers {
			if _, err := b.push(ctx, r, i, p); err != nil {
				return err
			}
		}
		for round := range b.rounds {
			if err := r.change(ctx, b.world, r.dir, round); err != nil {
				return err
			}
			if err := b.pushAll(ctx, r, round, "one file", "deploy phase of one file"); err != nil {
				return err
			}
			if err := b.pushAll(ctx, r, round, "nothing to push", ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// pushAll pushes once to each peer, and keeps how long that took, and the deploy phase if it has a name.
func (b *meter) pushAll(ctx context.Context, r *repository, round int, what, phase string) error {
	for _, i := range b.turns(len(b.peers), round) {
		if err := b.pushOne(ctx, r, i, what, phase); err != nil {
			return err
		}
	}
	return nil
}

// pushOne is the turn of one peer.
func (b *meter) pushOne(ctx context.Context, r *repository, i int, what, phase string) error {
	p := b.peers[i]
	out, err := b.push(ctx, r, i, p)
	if err != nil {
		return err
	}
	b.ms(what, r.name, p.name, out.took)
	if phase == "" || p.name != embeddedName && p.name != externalName {
		return nil
	}
	took, err := deployed(out.stderr)
	if err == nil {
		b.ms(phase, r.name, p.name, took)
	}
	return err
}

// firstPushes measures pushes to empty repositories, and among them how fast each etcd takes the same contents.
func (b *meter) firstPushes(ctx context.Context) error {
	for _, size := range b.firsts {
		r, err := b.source(ctx, size, "first-"+strings.ToLower(size), nil)
		if err != nil {
			return err
		}
		b.say("%s", r.describe())
		rounds := b.few
		if r.loose { // most of it is the client's work
			rounds = max(1, rounds-2)
		}
		for round := range rounds {
			if err := r.homesAt(ctx, fmt.Sprintf("first-%s-%d", strings.ToLower(size), round), b.peers); err != nil {
				return err
			}
			if err := b.firstRound(ctx, r, round); err != nil {
				return err
			}
		}
		for name := range b.withEtcd() {
			for _, ms := range b.samples[key{firstPhase, size, name, "ms"}] {
				b.add(key{firstContent, size, name, "MB/s"}, float64(r.bytes)/1e3/ms)
			}
		}
	}
	return nil
}

// firstRound asks each peer and each etcd once, but no etcd for the contents of another corpus again. Before each turn,
// all that was written so far is put on disk.
func (b *meter) firstRound(ctx context.Context, r *repository, round int) error {
	etcds := slices.Sorted(maps.Keys(b.withEtcd()))
	if r.loose {
		etcds = nil
	}
	for _, i := range b.turns(len(b.peers)+len(etcds), round) {
		if err := b.settle(ctx); err != nil {
			return err
		}
		var err error
		if i < len(b.peers) {
			err = b.pushOne(ctx, r, i, "first push", firstPhase)
		} else {
			err = b.puts(ctx, r.corpus, etcds[i-len(b.peers)], round)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// What is told of a first push's deploy phase: how long it took, and how many bytes of files it deployed in that time.
const (
	firstPhase   = "deploy phase of a first push"
	firstContent = "content in the deploy phase of a first push"
)
