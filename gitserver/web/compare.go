package web

import (
	"context"
	"fmt"
	"net/http"

	"refship/deploy/record"
	"refship/deploy/text"
)

// comparePage is what differs between two deploys.
type comparePage struct {
	links
	From, To row
	Path     string // raw bytes; "": all files
	Changes  changes
}

// compare answers with what differs between two deploys: from 0 is the one before the other, to 0 the head.
func (w *Web) compare(ctx context.Context, q *request) error {
	chain, of, at := w.open(q), linksOf(q.repo, q.target), q.at
	head, err := chain.Head(ctx)
	switch {
	case err != nil:
		return err
	case head == nil:
		return errNone
	case at.to == 0:
		at.to = head.ID
	}
	if at.from == 0 {
		at.from = max(at.to-1, 1)
	}
	allowed, err := w.cfg.Allowed()
	if err != nil {
		return err
	}
	page, j := comparePage{links: of, Path: at.path}, judge{links: of, chain: chain, allowed: allowed}
	var both [2]*record.Deploy
	for i, id := range []record.ID{at.from, at.to} {
		if both[i], err = chain.Get(ctx, id); err != nil {
			return err
		}
	}
	if page.From, err = j.row(ctx, both[0]); err != nil {
		return err
	}
	if page.To, err = j.row(ctx, both[1]); err != nil {
		return err
	}
	work := differ{
		w: w, chain: chain, links: of, before: both[0], after: both[1], only: at.path, colors: w.colors.NewPage(),
	}
	if page.Changes, err = work.changes(ctx); err != nil {
		return err
	}
	title := fmt.Sprintf("Deploys %d and %d of %s", at.from, at.to, of.name)
	if at.path != "" {
		title = text.QuotePath(at.path) + " in d" + title[1:]
	}
	w.render(q, http.StatusOK, "compare", view{Title: title, Chain: &of, Page: page})
	return nil
}
