package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/gitserver"
)

// partial is the error of a check that failed for some of what it looked at, which the rest can do without.
type partial struct{ lines []string }

func (p *partial) Error() string { return strings.Join(p.lines, "; ") }

// writable is what is known of the namespaces that a server's targets deploy to.
type writable struct {
	all    int                // how many there are
	denied []deploy.Namespace // where etcd's role may not read and write, sorted
}

// permissions asks etcd whether it permits what pushes will do.
type permissions struct {
	repos  gitserver.Repos
	client *clientv3.Client
	denied []deploy.Namespace // the last time; the first is asked for next
}

// ask costs one request, and a second one while any namespace is denied: those are asked for in turn, one each time,
// until one turns out to be permitted, when the others may be, too.
func (p *permissions) ask(ctx context.Context) (writable, error) {
	repos, _ := p.repos.List(ctx) // with an error, those that can be read are there, and it is told elsewhere
	all := namespaces(repos)
	var waiting, rest []deploy.Namespace
	for _, ns := range p.denied {
		if slices.Contains(all, ns) {
			waiting = append(waiting, ns)
		}
	}
	for _, ns := range all {
		if !slices.Contains(waiting, ns) {
			rest = append(rest, ns)
		}
	}
	if len(waiting) > 0 {
		still, err := deploy.Denied(ctx, p.client, waiting[:1])
		if err != nil {
			return writable{}, err
		}
		others := waiting[1:]
		if len(still) == 0 {
			others, err = deploy.Denied(ctx, p.client, others)
		}
		if err != nil {
			return writable{}, err
		}
		waiting = slices.Concat(others, still)
	}
	found, err := deploy.Denied(ctx, p.client, rest)
	if err != nil {
		return writable{}, err
	}
	p.denied = slices.Concat(waiting, found)
	return writable{all: len(all), denied: slices.Sorted(slices.Values(p.denied))}, nil
}

// namespaces are those of all targets, each once and sorted.
func namespaces(repos []*gitserver.Repo) []deploy.Namespace {
	var all []deploy.Namespace
	for _, repo := range repos {
		for _, target := range repo.Targets {
			all = append(all, target.Namespace)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// deniedLine says that the pushes of one namespace are refused, and what to do.
func deniedLine(ns deploy.Namespace) string {
	return fmt.Sprintf("%s: etcd's role may not read and write there, its pushes are refused; %s", ns, etcd.GrantHint(string(ns)+"/"))
}

// checkWrite fails where no namespace may be written: with some of them the server has something to do.
func (h *health) checkWrite() error {
	if _, err := h.answers.get(); err != nil {
		return errUnknown
	}
	now, err := h.writes.get()
	switch {
	case errors.Is(err, etcd.ErrUnreachable):
		return errUnknown
	case err != nil:
		return err
	case len(now.denied) == 0:
		return nil
	}
	found := new(partial)
	for _, ns := range now.denied {
		found.lines = append(found.lines, deniedLine(ns))
	}
	if len(now.denied) == now.all {
		return errors.New(found.Error())
	}
	return found
}

// warnDenied tells of each namespace whose pushes etcd's role will have refused.
func (s *server) warnDenied(ctx context.Context, repos []*gitserver.Repo) {
	denied, err := deploy.Denied(ctx, s.store.client, namespaces(repos))
	if err != nil {
		s.warn(err)
	}
	for _, ns := range denied {
		s.warn(errors.New(deniedLine(ns)))
	}
}
