package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/deploy/store"
)

// chainsOnPage is how many chains are shown together, and chainsAtOnce how many are read at the same time.
const chainsOnPage, chainsAtOnce = 100, 8

// chainsPage is all chains at a glance.
type chainsPage struct {
	Chains []chainRow
	Pushes []pushRow
	After  string // there are more after this one; "": there are none
	Some   bool   // the server has chains before these
}

// chainRow is one chain at a glance.
type chainRow struct {
	links
	Repo  Repository
	At    Target
	Name  string // the target's, where the repository has several
	Head  *row
	Hold  *record.Hold
	Ahead bool
	Count nodeCount
	Rings string // how the rollout stands; "": there is nothing to say of it
	Err   string // why the rest is not known
}

// pushRow is a push that is under way, or has just ended.
type pushRow struct {
	Push
	links
	Count nodeCount // with Published
}

// nodeCount is how many nodes there are, and how many of them run the head.
type nodeCount struct{ Run, All int }

// Behind is how many do not.
func (n nodeCount) Behind() int { return n.All - n.Run }

func countNodes(nodes []store.Node, head *record.Deploy) (n nodeCount) {
	for _, one := range nodes {
		n.All++
		if head != nil && one.ID == head.ID {
			n.Run++
		}
	}
	return n
}

// list are the repositories that the viewer may read and that have targets, by name.
func (w *Web) list(q *request) ([]Repository, error) {
	all, err := w.cfg.List()
	if len(all) == 0 && err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(r Repository) bool {
		return len(r.Targets) == 0 || !q.viewer.MayRead(r.Name)
	})
	slices.SortFunc(all, func(a, b Repository) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// chains answers with all chains.
func (w *Web) chains(ctx context.Context, q *request) error {
	listed, err := w.list(q)
	if err != nil {
		return err
	}
	page, byChain := chainsPage{Some: q.at.after != ""}, map[record.Namespace]*chainRow{}
	for _, repo := range listed {
		for _, t := range repo.Targets {
			if of := linksOf(repo, t); of.name > q.at.after {
				page.Chains = append(page.Chains, chainRow{links: of, Repo: repo, At: t})
			}
		}
	}
	if len(page.Chains) > chainsOnPage {
		page.Chains = page.Chains[:chainsOnPage]
		page.After = page.Chains[chainsOnPage-1].name
	}
	allowed, err := w.cfg.Allowed()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(chainsAtOnce)
	for i := range page.Chains {
		one := &page.Chains[i]
		byChain[one.At.Namespace] = one
		if len(one.Repo.Targets) > 1 {
			one.Name = one.At.Name
		}
		group.Go(func() error {
			if err := one.read(ctx, w.cfg.Chain(one.At.Namespace).Within(requestBytes), judge{allowed: allowed}); err != nil {
				one.Err = "it cannot be read: " + err.Error()
			}
			return ctx.Err()
		})
		if w.cfg.IsAhead != nil {
			one.Ahead, _ = w.cfg.IsAhead(one.Repo.Name, one.At.Name)
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, p := range w.hub.underWay(func(p Push) bool { return byChain[p.Namespace] != nil }) {
		of := byChain[p.Namespace]
		page.Pushes = append(page.Pushes, pushRow{Push: p, links: of.links, Count: of.Count})
	}
	w.render(q, http.StatusOK, "chains", view{Title: "All chains", Events: "/events", Page: page})
	return nil
}

// read reads how a chain stands.
func (c *chainRow) read(ctx context.Context, chain *store.Chain, j judge) error {
	state, err := chain.State(ctx)
	if err != nil {
		return err
	}
	nodes, err := chain.Reports(ctx)
	if err != nil {
		return err
	}
	if state.Head != nil {
		j.chain, j.links = chain, c.links
		head, err := j.row(ctx, state.Head)
		if err != nil {
			return err
		}
		c.Head = &head
	}
	c.Hold, c.Count = state.Hold, countNodes(nodes, state.Head)
	c.Rings = rollout.Words(state, nodes, time.Now())
	return nil
}
