package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/keys"
)

const (
	// deploysOnPage is how many deploys of a timeline are shown together.
	deploysOnPage = 50
	// deploysAtOnce is how many are looked at for one page where few match.
	deploysAtOnce = 2000
)

// timelinePage is one chain, from a deploy down.
type timelinePage struct {
	links
	Repo   Repository
	At     Target
	State  *record.State
	Count  nodeCount
	Ahead  bool
	Rings  string
	Rows   []row
	Pushes []pushRow
	Filter filter
	Older  string // address of the next page; "": there is none
	Newest string // address of the first page; "": this is it
	Looked int    // at so many deploys
	Note   string // what is to be said of the rows
	Live   bool   // it changes by itself
}

// row is a deploy, or an event, of a timeline.
type row struct {
	links
	ID       record.ID
	Hash     string
	Time     time.Time // zero: not known
	By       string
	Kind     string
	Forced   bool
	Subject  string
	Reason   string
	Damage   string // why it cannot be believed; "": it can
	Distrust string // why its signature does not count; "": it does, or that is not known
	Event    *record.Event
}

// Is tells whether a row stands out, and as what: a class of the stylesheet.
func (r row) Is() string {
	switch {
	case r.Damage != "" || r.Distrust != "":
		return "bad"
	case r.Event != nil && r.Event.Kind == record.EventHold:
		return "held"
	case r.Event != nil:
		return "event"
	case r.Kind == string(record.KindRollback):
		return "rollback"
	case r.Forced:
		return "forced"
	}
	return ""
}

// judge makes rows, and says whose signatures count.
type judge struct {
	links   links
	chain   *store.Chain
	allowed *keys.AllowedSigners // nil: it is not known
	trust   *record.Trust
}

// row makes the row of a deploy.
func (j *judge) row(ctx context.Context, d *record.Deploy) (row, error) {
	made := row{links: j.links, ID: d.ID, Hash: text.Printable(d.Hash.Short()), Kind: "foreign", By: "another writer"}
	switch r := d.Record; {
	case d.Damage != nil:
		made.Kind, made.By, made.Damage = "damaged", "", d.Damage.Error()
		return made, nil
	case r == nil:
		return made, nil
	default:
		made.Time, made.By, made.Kind, made.Forced = r.Time, text.Printable(r.Pusher.Name), string(r.Kind), r.Forced
		made.Subject, made.Reason = text.Printable(r.Subject), text.Printable(r.Reason)
	}
	if j.allowed == nil {
		return made, nil
	}
	if j.trust == nil {
		j.trust = record.NewTrust(j.allowed, j.chain.Down)
	}
	allowed, err := j.trust.Signers(ctx, d)
	if err != nil {
		return made, err
	}
	if _, err := d.Judge(allowed); err != nil {
		made.Distrust = err.Error()
	}
	return made, nil
}

// errEnough ends a walk that has what a page shows.
var errEnough = errors.New("no more is shown")

// timeline answers with a chain's deploys and events.
func (w *Web) timeline(ctx context.Context, q *request) error {
	chain, of, f := w.open(q), linksOf(q.repo, q.target), q.at.filter
	state, err := chain.State(ctx)
	if err != nil {
		return err
	}
	nodes, err := chain.Reports(ctx)
	if err != nil {
		return err
	}
	allowed, err := w.cfg.Allowed()
	if err != nil {
		return err
	}
	page := timelinePage{
		links: of, Repo: q.repo, At: q.target, State: state, Filter: f, Count: countNodes(nodes, state.Head),
		Rings: rollout.Words(state, nodes, time.Now()),
	}
	if w.cfg.IsAhead != nil {
		page.Ahead, _ = w.cfg.IsAhead(q.repo.Name, q.target.Name)
	}
	if f.From != 0 {
		page.Newest = of.Timeline() + f.query(0)
	}
	t := &teller{
		page: &page, chain: chain, filter: f, judge: judge{links: of, chain: chain, allowed: allowed},
	}
	if state.Head != nil {
		if err := t.tell(ctx, state.Head.ID); err != nil {
			return err
		}
	}
	for _, p := range w.hub.underWay(func(p Push) bool { return p.Namespace == q.target.Namespace }) {
		page.Pushes = append(page.Pushes, pushRow{Push: p, links: of, Count: page.Count})
	}
	shown := view{Title: of.name, Chain: &of}
	if f.From == 0 && f.IsEmpty() {
		shown.Events = of.Events()
		page.Live = true
	}
	shown.Page = page
	w.render(q, http.StatusOK, "timeline", shown)
	return nil
}

// teller fills a page with those rows that are asked for.
type teller struct {
	page   *timelinePage
	chain  *store.Chain
	filter filter
	judge  judge
	events []*record.Event // those that were not told, the newest first
	count  int             // deploys that are shown
	told   record.ID       // the last one that was looked at, and is shown or not
}

// tell tells from the head, or from the deploy that is asked for, down.
func (t *teller) tell(ctx context.Context, head record.ID) (err error) {
	if t.filter.Commit != "" {
		return t.first(ctx)
	}
	if t.filter.Path == "" {
		if t.events, err = t.chain.Events(ctx); err != nil {
			return err
		}
	}
	from := head
	if t.filter.From != 0 && t.filter.From < head {
		from = t.filter.From
		if err := t.skipEvents(ctx, from+1); err != nil {
			return err
		}
	}
	if from, err = t.until(ctx, from); err != nil {
		return err
	}
	show, end := t.deploy, func(context.Context) error { return nil }
	if t.filter.Path != "" {
		h := t.chain.NewHistory(t.filter.Path, func(d *record.Deploy, touch store.Touch) error {
			return t.touched(ctx, d, touch)
		})
		show, end = h.Add, h.End
	}
	err = t.chain.Down(ctx, from, func(d *record.Deploy) error {
		if t.page.Looked == deploysAtOnce {
			t.page.Note = fmt.Sprintf("deploys down to %d were looked at", t.told)
			t.more(t.told - 1)
			return errEnough
		}
		t.page.Looked++
		return show(ctx, d)
	})
	if err == nil {
		err = end(ctx)
	}
	if err == nil {
		err = t.eventsBefore(nil)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// until gives the deploy from which on down there are some that are not too late: times never decrease along a chain.
// Where a deploy tells no time, those from there on down are looked at one by one.
func (t *teller) until(ctx context.Context, from record.ID) (record.ID, error) {
	if t.filter.until.IsZero() {
		return from, nil
	}
	for low := record.ID(1); low < from; {
		middle := from - (from-low)/2
		d, err := t.chain.Get(ctx, middle)
		switch {
		case fault.Is(err, fault.Unavailable) || errors.Is(err, store.ErrTooMuch) || ctx.Err() != nil:
			return from, err
		case err != nil || d.Record == nil:
			return from, nil //nolint:nilerr // it is damaged, which its row says
		case d.Record.Time.After(t.filter.until):
			from = middle - 1
		default:
			low = middle
		}
	}
	return from, nil
}

// skipEvents drops the events that are told above a deploy.
func (t *teller) skipEvents(ctx context.Context, above record.ID) error {
	d, err := t.chain.Get(ctx, above)
	if err != nil {
		return nil //nolint:nilerr // it is damaged, and its page says so
	}
	for len(t.events) > 0 && t.events[0].Follows(d) {
		t.events = t.events[1:]
	}
	return nil
}

// more says that the timeline goes on from a deploy down.
func (t *teller) more(from record.ID) { t.page.Older = t.page.Timeline() + t.filter.query(from) }

// touched is deploy where a path is asked for.
func (t *teller) touched(ctx context.Context, d *record.Deploy, touch store.Touch) error {
	t.told = d.ID
	switch touch {
	case store.Untouched:
		if d.Damage == nil {
			return nil
		}
	case store.Expired, store.Unknown:
		t.page.Note = "of some deploys it is not known whether they changed the path: what would tell is gone"
		return nil
	}
	return t.deploy(ctx, d)
}

// deploy shows a deploy that is asked for, below the events that came after it.
func (t *teller) deploy(ctx context.Context, d *record.Deploy) error {
	t.told = d.ID
	if err := t.eventsBefore(d); err != nil {
		return err
	}
	if r := d.Record; r != nil {
		if !t.filter.since.IsZero() && r.Time.Before(t.filter.since) {
			return errEnough // those below came earlier still
		}
		if t.filter.By != "" && r.Pusher.Name != t.filter.By ||
			!t.filter.until.IsZero() && r.Time.After(t.filter.until) {
			return nil
		}
	} else if d.Damage == nil && t.filter.By != "" {
		return nil
	}
	if t.count == deploysOnPage {
		t.more(d.ID)
		return errEnough
	}
	t.count++
	made, err := t.judge.row(ctx, d)
	t.page.Rows = append(t.page.Rows, made)
	return err
}

// eventsBefore shows the events that came after a deploy; nil: all that are left.
func (t *teller) eventsBefore(d *record.Deploy) error {
	for len(t.events) > 0 && (d == nil || t.events[0].Follows(d)) {
		e := t.events[0]
		t.events = t.events[1:]
		f := t.filter
		if f.By != "" && e.User != f.By || !f.since.IsZero() && e.Time.Before(f.since) ||
			!f.until.IsZero() && e.Time.After(f.until) {
			continue
		}
		t.page.Rows = append(t.page.Rows, row{
			links: t.judge.links, Event: e, Time: e.Time, By: text.Printable(e.User), Kind: text.Printable(string(e.Kind)),
			Reason: text.Printable(e.Reason),
		})
	}
	return nil
}

// first shows the deploy that was the first with a commit.
func (t *teller) first(ctx context.Context) error {
	d, earlier, err := t.chain.FirstWith(ctx, t.filter.Commit, func(*record.Deploy) error {
		t.page.Looked++
		return nil
	})
	reason, _ := fault.ReasonOf(err)
	switch {
	case errors.Is(err, store.ErrEmpty):
		return nil
	case reason == store.ReasonNoCommit:
		t.page.Note = err.Error()
		return nil
	case err != nil:
		return err
	}
	t.page.Note = "the first deploy with that commit"
	if len(earlier) > 0 {
		t.page.Note += "; earlier ones may have had it: what leads to a commit is not stored of first and forced deploys"
	}
	made, err := t.judge.row(ctx, d)
	t.page.Rows = append(t.page.Rows, made)
	return err
}
