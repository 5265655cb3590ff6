package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/keys"
)

type logCmd struct {
	chainFlags
	logFilter
	dateFlag
	Commits bool   `help:"Show under each deploy the commits that it brought."`
	NoPager bool   `help:"On a terminal, use no pager. Otherwise that is $$GIT_PAGER, else $$PAGER, else less."`
	Chain   string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
	JSON    bool   `help:"Print one line of JSON per deploy, and per hold, resume and promotion: see the manual for its fields."`
}

// loggedJSON is a deploy in a log for programs.
type loggedJSON struct {
	deployJSON
	Signer  string        `json:"signer"`            // the name of the allowed signer, "" without one
	Commits *[]commitJSON `json:"commits,omitempty"` // only with --commits: those that it brought and are stored
	// More is there only with --commits: how many it brought besides; below 0: so many of these came earlier.
	More int `json:"more,omitempty"`
}

type commitJSON struct {
	Commit  string `json:"commit"`
	Author  string `json:"author"` // "Name <mail>"
	Time    string `json:"time"`   // RFC 3339; "" if the commit has none
	Subject string `json:"subject"`
}

// eventJSON is a hold, a resume or a promotion for programs. Only it has a kind: that of a deploy is in its record.
type eventJSON struct {
	Kind   record.EventKind `json:"kind"` // "hold", "resume" or "promote"
	User   string           `json:"user"`
	Host   string           `json:"host"`
	Reason string           `json:"reason"`
	Time   time.Time        `json:"time"` // RFC 3339
}

// unknownJSON says for programs that it is not known whether some deploys changed --path.
type unknownJSON struct {
	Kind   string    `json:"kind"` // "unknown"
	From   record.ID `json:"from"`
	To     record.ID `json:"to"`
	Reason string    `json:"reason"`
}

func (c *logCmd) Run(ctx context.Context, a *app) error {
	if err := c.logFilter.check(); err != nil {
		return err
	}
	return a.page(ctx, c.NoPager, func(ctx context.Context, a *app, t terminal) error {
		return c.read(ctx, a, c.Chain, func(chain *store.Chain, out io.Writer) error {
			allowed, err := c.allowed(a)
			if err != nil {
				return err
			}
			l := &logPrinter{cmd: c, a: a, chain: chain, out: out, allowed: allowed, commits: chain.NewCommits()}
			l.trust = record.NewTrust(allowed, chain.Down)
			rows := a.stdout // a block of lines is seen at once
			if c.JSON {
				rows = io.Discard
			}
			l.table = record.NewStyledTable(rows, a.now(), allowed,
				record.Style{Width: t.width, Height: t.height, Color: t.color, When: c.words()})
			return l.print(ctx)
		})
	})
}

// logPrinter prints those deploys and events of a chain that are asked for.
type logPrinter struct {
	cmd     *logCmd
	a       *app
	chain   *store.Chain
	out     io.Writer
	allowed *keys.AllowedSigners // as far as the deploys so far need it
	trust   *record.Trust
	table   *record.Table
	commits *store.Commits

	signatures unjudged
	newest     *record.Record
	seen       int // deploys that were read
	shown      int // deploys and events
	count      int // deploys that were shown
}

func (l *logPrinter) print(ctx context.Context) error {
	var err error
	if l.cmd.Contains != "" {
		err = l.contains(ctx)
	} else {
		err = l.story(ctx)
	}
	_, err = l.table.End(err)
	switch {
	case err != nil && l.seen == 0:
		return err
	case l.seen == 0:
		if err := l.cmd.checkKnown(l.a, l.chain.Namespace()); err != nil {
			return err
		}
		l.a.say("%s", l.chain.Namespace().Undeployed())
	case err == nil && l.shown == 0:
		l.a.say("none of %s in %s matches", text.Count(l.seen, "deploy"), l.chain.Namespace())
	}
	l.signatures.tell(l.a, l.allowed)
	if state, err := l.chain.State(ctx); err == nil {
		for _, odd := range state.Warnings(l.chain.Namespace(), l.newest, l.a.now()) {
			l.a.warn(errors.New(odd))
		}
	}
	return err
}

// story prints from the newest down.
func (l *logPrinter) story(ctx context.Context) error {
	f := l.cmd.sieve(l.a.now())
	show := func(d *record.Deploy) error { return l.passed(ctx, f, d) }
	finish := func(err error) error { return err }
	if l.cmd.Path != "" {
		show, finish = l.history(ctx, f)
	}
	err := l.chain.Story(ctx, 0, func(d *record.Deploy) error {
		l.look(d)
		return show(d)
	}, func(e *record.Event) error {
		if !f.event(e) {
			return nil
		}
		return l.event(e)
	})
	err = finish(err)
	switch {
	case err != nil && !errors.Is(err, errEnough):
		return err
	case f.found == nil && l.cmd.At.isSet && l.seen > 0:
		l.a.say("nothing was live at %s", f.at.Format(time.RFC3339))
		l.shown++
	case len(f.untimed) > 0 && l.cmd.At.isSet:
		l.a.warn(fmt.Errorf("%s above it may have been live by then: no record tells its time", deployWords(f.untimed)))
	}
	return nil
}

// look takes in what is told of all deploys that are read.
func (l *logPrinter) look(d *record.Deploy) {
	l.signatures.add(d)
	if l.seen++; l.newest == nil {
		l.newest = d.Record
	}
}

// passed shows a deploy if it passes, and ends the walk with errEnough when there is no more to show.
func (l *logPrinter) passed(ctx context.Context, f *sieve, d *record.Deploy) error {
	pass, more := f.deploy(d)
	if pass {
		if err := l.deploy(ctx, d); err != nil {
			return err
		}
	}
	if !more || l.cmd.Limit > 0 && l.count >= int(l.cmd.Limit) && d.ID > 1 {
		return errEnough
	}
	return nil
}

// deploy shows a deploy, and what it brought.
func (l *logPrinter) deploy(ctx context.Context, d *record.Deploy) error {
	var err error
	if l.allowed, err = l.trust.Signers(ctx, d); err != nil {
		return err
	}
	l.table.Trust(l.allowed)
	l.shown++
	l.count++
	if err := l.table.Add(d); err != nil {
		return err
	}
	shown := loggedJSON{deployJSON: describe(d)}
	if l.allowed != nil && d.Record != nil {
		shown.Signer, _ = d.Judge(l.allowed)
	}
	if l.cmd.Commits {
		brought, more, err := l.commits.Brought(ctx, d)
		if err != nil {
			return fmt.Errorf("read the commits of deploy %d: %w", d.ID, err)
		}
		shown.Commits, shown.More = describeCommits(brought), more
		if err := l.noteCommits(brought, more); err != nil {
			return err
		}
	}
	if l.cmd.JSON {
		return writeJSON(l.out, shown)
	}
	return nil
}

func describeCommits(commits []*store.Commit) *[]commitJSON {
	all := []commitJSON{}
	for _, c := range commits {
		one := commitJSON{Commit: c.OID.String(), Author: c.Author, Subject: c.Subject}
		if !c.Time.IsZero() {
			one.Time = c.Time.Format(time.RFC3339)
		}
		all = append(all, one)
	}
	return &all
}

func (l *logPrinter) noteCommits(commits []*store.Commit, more int) error {
	for _, line := range commitLines(commits, more) {
		if err := l.table.AddNote(line); err != nil {
			return err
		}
	}
	return nil
}

// commitLines are the commits that a deploy brought, for people.
func commitLines(commits []*store.Commit, more int) []string {
	var lines []string
	for _, c := range commits {
		author := ""
		if c.Author != "" {
			author = " (" + c.Author + ")"
		}
		lines = append(lines, fmt.Sprintf("    %s  %s", record.CommitHash(c.OID).Short(), text.Printable(c.Subject+author)))
	}
	if more < 0 {
		lines = append(lines, fmt.Sprintf("    %d of these came earlier, which is not known", -more))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("    and %s more, not stored", record.CountCommits(more)))
	}
	return lines
}

func (l *logPrinter) event(e *record.Event) error {
	l.shown++
	if l.cmd.JSON {
		return writeJSON(l.out, eventJSON{e.Kind, e.User, e.Host, e.Reason, e.Time})
	}
	return l.table.AddEvent(e)
}

// contains shows the deploy that was the first with a commit.
func (l *logPrinter) contains(ctx context.Context) error {
	var damage error
	first, earlier, err := l.chain.FirstWith(ctx, l.cmd.Contains, func(d *record.Deploy) error {
		if l.look(d); d.Damage == nil {
			return nil
		}
		damage = cmp.Or(damage, d.Damage)
		return l.deploy(ctx, d)
	})
	switch {
	case errors.Is(err, store.ErrEmpty):
		return nil
	case err != nil:
		return errors.Join(damage, err)
	}
	if len(earlier) > 0 {
		l.a.warn(fmt.Errorf("%s may have had it before: what leads to a commit is not stored of first and forced deploys",
			deployWords(earlier)))
	}
	if first.Damage != nil {
		return nil // it was shown
	}
	return l.deploy(ctx, first)
}
