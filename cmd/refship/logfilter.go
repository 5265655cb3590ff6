package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// logFilter says which deploys log shows, and of holds and resumes which.
type logFilter struct {
	Limit    count    `short:"n" placeholder:"N|all" help:"Show at most N deploys. Default: all."`
	Since    moment   `placeholder:"TIME" help:"Show what came at TIME or later: 2026-11-24T14:00:00Z, \"2026-11-24 14:00\" (local), 2026-11-24 (from its start), or 3d or 2h for so long ago."`
	Until    moment   `placeholder:"TIME" help:"Show what came at TIME or before; a day is in it to its end."`
	At       moment   `placeholder:"TIME" help:"Show the deploy that was live at TIME; of a day, at its start."`
	Path     string   `placeholder:"PATH" help:"Show only deploys that changed this file or directory."`
	Contains string   `placeholder:"COMMIT" help:"Show the deploy with which a commit went live first: 7 digits of it at least."`
	By       string   `placeholder:"NAME" help:"Show only what this user did."`
	Kind     []string `placeholder:"KIND" help:"Show only this: push, deploy, rollback, foreign, hold, resume, promote. Several are joined with commas."`
}

func logKinds() []string {
	return []string{string(record.KindPush), string(record.KindDeploy), string(record.KindRollback), kindForeign,
		string(record.EventHold), string(record.EventResume), string(record.EventPromote)}
}

// kindForeign is the kind of deploys without a record.
const kindForeign = "foreign"

func (f *logFilter) check() (err error) {
	for _, kind := range f.Kind {
		if !slices.Contains(logKinds(), kind) {
			return usagef("--kind: %s is none of %s", text.Mention(text.Clip(kind)), strings.Join(logKinds(), ", "))
		}
	}
	if f.Path != "" {
		if f.Path, err = treePath(f.Path); err != nil {
			return err
		}
		f.Path = strings.TrimSuffix(f.Path, "/")
	}
	if f.Contains != "" {
		selector, err := record.ParseSelector(f.Contains)
		if err != nil || selector.Commit() == "" {
			return usagef("--contains: %s is no commit: 7 to 64 hex digits in lower case", text.Mention(text.Clip(f.Contains)))
		}
	}
	one := ""
	for _, flag := range []struct {
		name  string
		given bool
	}{{"--contains", f.Contains != ""}, {"--at", f.At.isSet}} {
		others := f.Limit != 0 || f.Since.isSet || f.Until.isSet || f.Path != "" || f.By != "" || len(f.Kind) > 0
		if flag.given && (others || one != "") {
			return usagef("%s asks for one deploy, and no other flag that chooses deploys can be given with it", flag.name)
		}
		if flag.given {
			one = flag.name
		}
	}
	return nil
}

// sieve lets those deploys and events pass that are asked for, from the newest down.
type sieve struct {
	*logFilter
	since, until, at time.Time // zero: not asked for
	within           bool      // the last deploy that has a time was not too late
	found            *record.Deploy
	untimed          []record.ID // deploys without a time since the last one that has one
}

func (f *logFilter) sieve(now time.Time) *sieve {
	s := &sieve{logFilter: f, within: !f.Until.isSet}
	if f.Since.isSet {
		s.since = f.Since.begin(now)
	}
	if f.Until.isSet {
		s.until = f.Until.end(now)
	}
	if f.At.isSet {
		s.at = f.At.begin(now)
	}
	return s
}

// errEnough ends a walk that has shown what is asked for.
var errEnough = errors.New("no more is asked for")

// deploy tells whether a deploy passes, and whether more can. One that is damaged passes always.
func (s *sieve) deploy(d *record.Deploy) (pass, more bool) {
	if s.At.isSet {
		return s.atTime(d)
	}
	kind, by := kindForeign, ""
	if r := d.Record; r != nil {
		s.within = s.until.IsZero() || !r.Time.After(s.until)
		if !s.since.IsZero() && r.Time.Before(s.since) {
			return false, false
		}
		kind, by = string(r.Kind), r.Pusher.Name
	}
	return d.Damage != nil || s.within && s.matches(kind, by), true
}

// matches compares with --kind and --by.
func (s *sieve) matches(kind, by string) bool {
	return (len(s.Kind) == 0 || slices.Contains(s.Kind, kind)) && (s.By == "" || s.By == by)
}

// atTime is deploy for --at.
func (s *sieve) atTime(d *record.Deploy) (pass, more bool) {
	switch {
	case d.Record == nil:
		s.untimed = append(s.untimed, d.ID)
		return d.Damage != nil, true
	case d.Record.Time.After(s.at):
		s.untimed = nil
		return false, true
	}
	s.found = d
	return true, false
}

// event tells whether an event passes.
func (s *sieve) event(e *record.Event) bool {
	return s.Path == "" && !s.At.isSet && (s.since.IsZero() || !e.Time.Before(s.since)) &&
		(s.until.IsZero() || !e.Time.After(s.until)) && s.matches(string(e.Kind), e.User)
}

// deployWords names deploys: "deploy 3", "deploys 3, 5".
func deployWords(ids []record.ID) string {
	var names []string
	for _, id := range ids {
		names = append(names, id.String())
	}
	if len(names) == 1 {
		return "deploy " + names[0]
	}
	return "deploys " + text.FirstFew(names)
}

// unknownRange is a range of deploys of which it is not known whether they changed the path.
type unknownRange struct {
	from, to record.ID
	why      store.Touch
}

func (r unknownRange) reason() string {
	if r.why == store.Expired {
		return "gc has taken files that would tell"
	}
	return "directories are missing or damaged"
}

// history shows only deploys that changed --path. finish takes the error that has ended the walk: without one it shows
// the last deploys.
func (l *logPrinter) history(ctx context.Context, f *sieve) (
	show func(*record.Deploy) error, finish func(error) error,
) {
	unknown := new(unknownRange)
	h := l.chain.NewHistory(l.cmd.Path, func(d *record.Deploy, touch store.Touch) error {
		pass, more := f.deploy(d)
		if more && (!pass || touch == store.Untouched && d.Damage == nil) {
			return nil
		}
		isKnown := touch == store.Untouched || touch == store.Touched
		if more && !isKnown && unknown.why == touch && unknown.from == d.ID+1 {
			unknown.from = d.ID
			return nil
		}
		if err := l.unknown(unknown); err != nil {
			return err
		}
		switch {
		case !more:
			return errEnough
		case !isKnown:
			*unknown = unknownRange{from: d.ID, to: d.ID, why: touch}
			return nil
		}
		if err := l.deploy(ctx, d); err != nil {
			return err
		}
		if l.cmd.Limit > 0 && l.count >= int(l.cmd.Limit) {
			return errEnough
		}
		return nil
	})
	return func(d *record.Deploy) error { return h.Add(ctx, d) }, func(err error) error {
		if err == nil {
			err = cmp.Or(h.End(ctx), l.unknown(unknown))
		}
		if err == nil || errors.Is(err, errEnough) {
			return h.Damage()
		}
		return err
	}
}

// unknown shows a range of deploys of which it is not known whether they are asked for, and makes it empty.
func (l *logPrinter) unknown(unknown *unknownRange) error {
	r := *unknown
	if *unknown = (unknownRange{}); r.to == 0 {
		return nil
	}
	l.shown++
	if l.cmd.JSON {
		return writeJSON(l.out, unknownJSON{Kind: "unknown", From: r.from, To: r.to, Reason: r.reason()})
	}
	words := fmt.Sprintf("unknown for deploys %d to %d: %s", r.from, r.to, r.reason())
	if r.from == r.to {
		words = fmt.Sprintf("unknown for deploy %d: %s", r.to, r.reason())
	}
	return l.table.AddNote(words)
}
