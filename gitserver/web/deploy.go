package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/verify"
	"refship/keys"
)

const (
	// maxCommits is how many commits of a deploy are named, and maxRunning how many nodes that run it.
	maxCommits, maxRunning = 100, 100
	// proofTime and proofBytes bound the verification of a deploy for its page, and proofsAtOnce how many run together.
	proofTime    = 2 * time.Second
	proofBytes   = 64 << 20
	proofsAtOnce = 2
)

// deployPage is one deploy.
type deployPage struct {
	links
	row
	Facts   []fact
	Commits []*store.Commit
	More    string // how many commits it brought besides; "": none
	Changes *changes
	Proof   proof
	Running running
	Newer   record.ID // 0: it is the head
	Head    record.ID
}

// fact is a field of a record.
type fact struct{ Name, Value string }

// running are the nodes that run a deploy.
type running struct {
	Nodes []store.Node
	More  int // that are not named
	All   int // of the chain
	IsNow bool
}

// proof is what was found when a deploy was verified.
type proof struct {
	State    string // "": it was not
	Unproved string // why not
	Signer   string
	Answers  []answer
	Findings []string
}

// answer is that of one check.
type answer struct {
	Check string
	Is    verify.Answer
}

// Class is one of the stylesheet's.
func (a answer) Class() string {
	switch a.Is {
	case verify.Holds:
		return "good"
	case verify.Fails:
		return "bad"
	}
	return ""
}

// Class is one of the stylesheet's.
func (p proof) Class() string {
	switch verify.State(p.State) {
	case verify.Sound:
		return "good"
	case verify.Damaged, verify.NotTrusted:
		return "bad"
	}
	return ""
}

// deploy answers with one deploy.
func (w *Web) deploy(ctx context.Context, q *request) error {
	chain, of := w.open(q), linksOf(q.repo, q.target)
	state, err := chain.State(ctx)
	if err != nil {
		return err
	}
	page := deployPage{links: of}
	if state.Head != nil {
		page.Head = state.Head.ID
	}
	if page.Running, err = nodesOf(ctx, chain, q.at.id, page.Head); err != nil {
		return err
	}
	title := fmt.Sprintf("Deploy %d of %s", q.at.id, of.name)
	shown := view{Title: title, Chain: &of, Events: of.Events()}
	if q.at.part {
		shown.Page = page
		w.render(q, http.StatusOK, "deploy", shown)
		return nil
	}
	allowed, err := w.cfg.Allowed()
	if err != nil {
		return err
	}
	d, err := get(ctx, chain, q.at.id)
	if err != nil {
		return err
	}
	j := judge{links: of, chain: chain, allowed: allowed}
	if page.row, err = j.row(ctx, d); err != nil {
		return err
	}
	if d.ID < page.Head {
		page.Newer = d.ID + 1
	}
	page.Facts = facts(d)
	if err := w.brought(ctx, chain, d, &page); err != nil {
		return err
	}
	page.Proof = w.prove(ctx, w.cfg.Chain(q.target.Namespace), d.ID, allowed)
	shown.Page = page
	w.render(q, http.StatusOK, "deploy", shown)
	return nil
}

// get reads a deploy; a damaged one, too.
func get(ctx context.Context, chain *store.Chain, id record.ID) (found *record.Deploy, err error) {
	err = chain.Down(ctx, id, func(d *record.Deploy) error {
		found = d
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if found == nil || found.IsMissing() {
		if _, err := chain.Get(ctx, id); err != nil {
			return nil, err
		}
		return nil, errNone
	}
	return found, nil
}

// brought reads what a deploy brought: commits, and what changed. Where something of it is gone or damaged, the page
// says so, and shows the rest.
func (w *Web) brought(ctx context.Context, chain *store.Chain, d *record.Deploy, page *deployPage) error {
	if d.Record == nil {
		return nil
	}
	all, more, err := chain.NewCommits().Brought(ctx, d)
	switch {
	case fault.Is(err, fault.Corrupt):
		page.More = err.Error()
	case err != nil:
		return err
	case more > 0:
		page.More = fmt.Sprintf("and %s more, not stored", record.CountCommits(more))
	case more < 0:
		page.More = fmt.Sprintf("%d of these came earlier, which is not known", -more)
	}
	if len(all) > maxCommits {
		page.More = text.More(len(all) - maxCommits + max(more, 0))
		all = all[:maxCommits]
	}
	page.Commits = all
	page.Changes = &changes{links: page.links, After: d.ID}
	if d.ID == 1 {
		return nil
	}
	page.Changes.Before = d.ID - 1
	before, err := chain.Get(ctx, d.ID-1)
	if err == nil && before.Record == nil {
		page.Changes.Unknown = "the deploy before is another writer's: compare them to see"
		return nil
	}
	if err == nil {
		work := differ{w: w, chain: chain, links: page.links, before: before, after: d, colors: w.colors.NewPage()}
		var found changes
		if found, err = work.changes(ctx); err == nil {
			page.Changes = &found
		}
	}
	reason, _ := fault.ReasonOf(err)
	if reason == store.ReasonExpired || fault.Is(err, fault.Corrupt) || errors.Is(err, store.ErrTooMuch) {
		page.Changes.Unknown = err.Error()
		return nil
	}
	return err
}

// prove verifies one deploy, within bounds.
func (w *Web) prove(ctx context.Context, chain *store.Chain, id record.ID, allowed *keys.AllowedSigners) (p proof) {
	ctx, cancel := context.WithTimeout(ctx, w.proofTime)
	defer cancel()
	if err := w.proofs.Acquire(ctx, 1); err != nil {
		p.Unproved = "others are being verified: load this page again"
		return p
	}
	defer w.proofs.Release(1)
	_, err := verify.Run(ctx, verify.Config{
		Chain: chain.Within(proofBytes), Allowed: allowed, IDs: []record.ID{id},
		Deploy: func(d *verify.Deploy) error {
			p.State, p.Signer = string(d.State()), d.Signer
			for _, check := range verify.Checks() {
				if is := d.Answers[check]; is != "" && is != verify.None {
					p.Answers = append(p.Answers, answer{strings.ReplaceAll(string(check), "_", " "), is})
				}
			}
			for _, f := range d.Findings {
				p.Findings = append(p.Findings, text.Printable(f.What))
			}
			return nil
		},
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		p = proof{Unproved: fmt.Sprintf("that takes longer than %s, which a page does not", w.proofTime)}
	case errors.Is(err, store.ErrTooMuch):
		p = proof{Unproved: fmt.Sprintf("more than %s would have to be read, which a page does not", text.Size(proofBytes))}
	case err != nil:
		p = proof{Unproved: err.Error()}
	}
	return p
}

// nodesOf gives the nodes that run a deploy.
func nodesOf(ctx context.Context, chain *store.Chain, id, head record.ID) (r running, err error) {
	all, err := chain.Reports(ctx)
	if err != nil {
		return r, err
	}
	r.All, r.IsNow = len(all), id == head
	for _, n := range all {
		switch {
		case n.ID != id:
		case len(r.Nodes) < maxRunning:
			r.Nodes = append(r.Nodes, n)
		default:
			r.More++
		}
	}
	return r, nil
}

// Older is the deploy before; 0: there is none.
func (p deployPage) Older() record.ID { return p.ID - 1 }

// IsLate tells whether nodes do not run the deploy that they should.
func (r running) IsLate() bool { return r.IsNow && r.Run() < r.All }

// Run is how many nodes run it.
func (r running) Run() int { return len(r.Nodes) + r.More }

// facts are those fields of a record that the rest of the page does not have.
func facts(d *record.Deploy) (all []fact) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, fact{name, text.Printable(value)})
		}
	}
	add("hash", string(d.Hash))
	r := d.Record
	if r == nil {
		return all
	}
	add("previous hash", string(r.PreviousHash))
	add("ref", r.Ref)
	add("path", r.Path)
	add("author", r.Author)
	add("tag", r.Tag.OID)
	add("pusher's key", r.Pusher.Key)
	add("came by", r.Pusher.Via)
	add("frontend", string(r.Frontend))
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		add("setting "+name, r.Settings[name])
	}
	add("files", strconv.Itoa(r.Files))
	add("tree", r.Tree.String())
	add("tree sha256", r.TreeSHA256.String())
	if r.Again != 0 {
		add("seen before it brought something back", "deploy "+r.Again.String())
	}
	for _, u := range r.Undone {
		add("undone", fmt.Sprintf("deploy %d, %s", u.ID, u.Hash.Short()))
	}
	add("push certificate", r.PushCertificate)
	add("published by", r.Server)
	add("signed with", r.Signer)
	add("next signer", r.NextSigner)
	add("namespace", string(r.Namespace))
	add("chain", string(r.Chain))
	return all
}
