package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// plan is how much is measured.
type plan struct {
	sizes  []string // corpora of pushes of one file
	firsts []string // corpora of first pushes
	large  string   // corpus of what is measured of large trees
	rounds int      // of what takes milliseconds
	few    int      // of what takes seconds
	pushes int      // of the old repository
}

var (
	quick = plan{
		sizes: []string{"S", "M"}, firsts: []string{"S", "M"}, large: "M", rounds: 5, few: 2, pushes: 100,
	}
	whole = plan{
		sizes: []string{"S", "L", "X"}, firsts: []string{"S", "M", "L", "R", "L-loose"}, large: "L",
		rounds: 21, few: 5, pushes: 10_000,
	}
)

func bench(ctx context.Context) error {
	isQuick := flag.Bool("quick", false, "small repositories and few rounds: under two minutes")
	bin := flag.String("bin", "bin", "the directory of refship and refship-hook")
	file := flag.String("json", "", "also write all figures to this file, as JSON")
	only := flag.String("only", "", "only these parts, with commas between: "+strings.Join(partNames(), ", "))
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(*bin)
	if err != nil {
		return err
	}
	began := time.Now()
	w, err := newWorld(ctx, dir, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "bench: %5.0f s: %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	})
	if w != nil {
		defer w.end()
	}
	if err != nil {
		return err
	}
	b := &meter{world: w, plan: whole}
	if *isQuick {
		b.plan = quick
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, p := range chosen {
		w.say("%s", p.what)
		if err := p.do(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	r := b.report(ctx, began, chosen)
	if *file != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(*file, append(text, '\n'), 0o644) //nolint:gosec // figures, for everybody
		}
		if err != nil {
			return err
		}
	}
	_, err = os.Stdout.WriteString(r.markdown())
	return err
}

// meter is one run: who takes part, how much is measured, and what came of it.
type meter struct {
	*world
	plan
	order
	results

	embedded, external *server
	peers              []peer
	sshd               string   // what OpenSSH's server says of itself
	missing            []string // what could not be measured here, and why
}

// part is a part of the run.
type part struct {
	name, what string
	do         func(*meter, context.Context) error
	goals      func(*plan) []goal
}

var parts = []part{
	{"push", "pushes of one changed file, and of nothing", (*meter).oneFile, oneFileGoals},
	{"first", "first pushes, and etcd's own rate of puts", (*meter).firstPushes, firstGoals},
	{"growth", "what one file adds to the database", (*meter).growth, growthGoals},
	{"memory", "the server's memory", (*meter).memory, memoryGoals},
	{"checkout", "checkouts and clones", (*meter).checkouts, checkoutGoals},
	{"node", "from publish to a node's switch", (*meter).node, nodeGoals},
	{"history", "a repository with many pushes", (*meter).history, historyGoals},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func choose(only string) (chosen []part, err error) {
	if only == "" {
		return parts, nil
	}
	var errs []error
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, p := range parts {
			if p.name == name {
				chosen, found = append(chosen, p), true
			}
		}
		if !found {
			errs = append(errs, fmt.Errorf("there is no part %q; the parts are %s", name, strings.Join(partNames(), ", ")))
		}
	}
	return chosen, errors.Join(errs...)
}

// prepare starts the servers.
func (b *meter) prepare(ctx context.Context) (err error) {
	if b.embedded, err = b.serve(ctx, "embedded", ""); err != nil {
		return err
	}
	b.peers = []peer{b.embedded.peer(embeddedName, true), b.embedded.peer(plainName, false)}
	endpoint, err := b.startEtcd(ctx)
	switch {
	case err != nil:
		return err
	case endpoint == "":
		b.missing = append(b.missing, "an external etcd: there is no program etcd")
	default:
		if b.external, err = b.serve(ctx, "external", endpoint); err != nil {
			return err
		}
		b.peers = append(b.peers, b.external.peer(externalName, true))
	}
	port, err := b.startSSHD(ctx)
	switch {
	case err != nil:
		return err
	case port == "":
		b.missing = append(b.missing, "OpenSSH's server: there is no program sshd")
	default:
		if b.sshd, err = banner(ctx, port); err != nil {
			return err
		}
		others, err := b.sshPeers(ctx, port)
		if err != nil {
			return err
		}
		b.peers = append(b.peers, others...)
	}
	b.peers = append(b.peers, peer{localName, nil, b.bare("", "local", true)})
	return nil
}
