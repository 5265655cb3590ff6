package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/gitserver/repos"
)

// partial is the error of a check that failed for some of what it looked at, which the rest can do without.
type partial struct{ lines []string }

func (p *partial) Error() string { return strings.Join(p.lines, "; ") }

// writable is what is known of the namespaces that a server's targets deploy to.
type writable struct {
	all    int                // how many there are
	denied []record.Namespace // those of which it is known that etcd's role may not read and write there, sorted
	done   bool               // each of the others was found to be permitted in this round
}

// maxQuestions bounds what is asked at a time: who looks often gets to know all.
const maxQuestions = 8

// permissions asks etcd whether it permits what pushes will do, in rounds: all namespaces that are not denied, as many
// together as a txn takes, and one of those that are. A group that is denied is asked for in halves. When a namespace is
// not denied any more, the others may be permitted, too, and are asked for at once.
type permissions struct {
	repos  repos.Dir
	client *etcd.Client
	denied []record.Namespace   // the one that was not asked for the longest comes first
	todo   [][]record.Namespace // groups that are left of this round
}

// ask goes on with the round. What etcd did not answer in time is asked for the next time.
func (p *permissions) ask(ctx context.Context) (writable, error) {
	repos, _ := p.repos.List() // with an error, those that can be read are there, and it is told elsewhere
	all := namespaces(repos)
	p.denied = slices.DeleteFunc(p.denied, func(ns record.Namespace) bool { return !slices.Contains(all, ns) })
	if len(p.todo) == 0 {
		open := slices.DeleteFunc(slices.Clone(all), func(ns record.Namespace) bool { return slices.Contains(p.denied, ns) })
		p.todo = slices.AppendSeq(p.todo, slices.Chunk(open, deploy.MaxAsked))
		if len(p.denied) > 0 {
			p.todo = append(p.todo, []record.Namespace{p.denied[0]})
		}
	}
	for asked := 0; asked < maxQuestions && len(p.todo) > 0; asked++ {
		may, err := deploy.MayWrite(ctx, p.client, p.todo[0])
		if err != nil && asked > 0 && ctx.Err() != nil {
			break
		}
		if err != nil {
			return writable{}, err
		}
		p.learn(may)
	}
	denied := slices.DeleteFunc(slices.Clone(p.denied), func(ns record.Namespace) bool { return !slices.Contains(all, ns) })
	slices.Sort(denied)
	return writable{all: len(all), denied: denied, done: len(p.todo) == 0}, nil
}

// learn takes in whether the first group is permitted.
func (p *permissions) learn(may bool) {
	group, rest := p.todo[0], p.todo[1:]
	of := func(ns record.Namespace) bool { return slices.Contains(group, ns) }
	switch known := slices.ContainsFunc(p.denied, of); {
	case may:
		if p.denied = slices.DeleteFunc(p.denied, of); known && len(group) == 1 {
			rest = slices.AppendSeq(rest, slices.Chunk(slices.Clone(p.denied), deploy.MaxAsked))
		}
		p.todo = rest
	case len(group) == 1:
		p.denied = append(slices.DeleteFunc(p.denied, of), group[0])
		p.todo = rest
	default:
		middle := len(group) / 2
		p.todo = slices.Insert(rest, 0, group[:middle], group[middle:])
	}
}

// namespaces are those of all targets, each once and sorted.
func namespaces(repos []*repos.Repository) []record.Namespace {
	var all []record.Namespace
	for _, repo := range repos {
		for _, target := range repo.Targets {
			all = append(all, target.Namespace)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// deniedLine says that the pushes of one namespace are refused, and what to do.
func deniedLine(ns record.Namespace) string {
	return fmt.Sprintf("%s: etcd's role may not read and write there, its pushes are refused; %s", ns, etcd.GrantRemedy(string(ns)+"/"))
}

// checkWrite fails where no namespace may be written: with some of them the server has something to do.
func (h *health) checkWrite() error {
	if _, err := h.answers.get(); err != nil {
		return errUnknown // the check etcd says why
	}
	now, err := h.writes.get()
	if err != nil {
		return err
	}
	if len(now.denied) == 0 {
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

// warnDenied tells of each namespace whose pushes etcd's role will have refused, as far as that is found out soon.
func (s *server) warnDenied(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	ask := permissions{repos: s.dir.repos(), client: s.store.client}
	for {
		now, err := ask.ask(ctx)
		if err == nil && !now.done && ctx.Err() == nil {
			continue
		}
		if err != nil {
			s.warn(err)
		}
		for _, ns := range now.denied {
			s.warn(errors.New(deniedLine(ns)))
		}
		return
	}
}
