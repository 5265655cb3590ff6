package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"refship/deploy/record"
	"refship/deploy/text"
)

// What one log line holds at most: values of a list, and bytes of a value and of an error.
const (
	maxLogged      = 50
	maxLoggedValue = 300
	maxLoggedError = 2000
)

// Report is what became of one push, or of one deploy that was asked for.
type Report struct {
	Kind       record.Kind   // push or deploy
	Repository string        // name
	Result     string        // one of Results, as in the log line
	Deploys    int           // published
	Took       time.Duration // from its beginning to its end
	LockWait   time.Duration // of Took, waiting for chain locks
	Stored     int64         // bytes that were put into etcd
}

// The results of pushes and deploys, as log lines and reports name them.
const (
	ResultNothing    = "nothing"      // the push updated no ref
	ResultDryRun     = "dry-run"      // refused, as asked for
	ResultRefused    = "refused"      // no ref moved
	ResultUndeployed = "not deployed" // a ref moved, or is where it was, and a deploy of it was not published
	ResultDeployed   = "deployed"     // at least one deploy was published
	ResultAlready    = "already deployed"
	ResultUnchanged  = "unchanged" // nothing below a target's path
	ResultSkipped    = "skipped"   // stored and, as asked for, not deployed
	ResultStored     = "stored"    // no target's ref
	ResultNotMoved   = "not moved" // git itself refused every ref after the hook, or was killed
)

// Results are all of them.
func Results() []string {
	return []string{
		ResultDeployed, ResultAlready, ResultUnchanged, ResultSkipped, ResultStored, ResultRefused, ResultDryRun,
		ResultUndeployed, ResultNotMoved, ResultNothing,
	}
}

// results are what became of the finished deliveries, for the log and the report.
type results struct {
	published []*record.Deploy
	lines     []string // "/refship/config 7"
	already   bool
	unchanged bool
	forced    bool
	commits   int
}

func resultsOf(deliveries []*delivery) results {
	var all results
	for _, d := range deliveries {
		switch {
		case d.published:
			all.published = append(all.published, d.deploy)
			all.lines = append(all.lines, fmt.Sprintf("%s %d", d.target.Namespace, d.deploy.ID))
			all.forced = all.forced || d.deploy.Record.Forced
			all.commits += d.deploy.Record.Commits
		case d.idle():
			all.already = all.already || d.verdict.Already
			all.unchanged = all.unchanged || d.verdict.Same
		}
	}
	return all
}

// name names what became of deliveries; "" if there was none, or none came to its end.
func (done *results) name() string {
	switch {
	case len(done.lines) > 0:
		return ResultDeployed
	case done.already:
		return ResultAlready
	case done.unchanged:
		return ResultUnchanged
	}
	return ""
}

// ending is the end of a push or deploy, for the log.
type ending struct {
	Report
	who   record.Pusher
	done  results
	err   error
	about []slog.Attr // what was asked for
	more  []slog.Attr
}

// report writes the one line that the log has of a push or deploy, and tells what counts them.
func (e *Engine) report(ctx context.Context, x *ending, spent cost) {
	x.Deploys, x.LockWait, x.Stored = len(x.done.lines), spent.lockWait, spent.stored
	attrs := append([]slog.Attr{
		slog.String("repository", x.Repository), slog.String("user", x.who.Name), slog.String("key", x.who.Key),
	}, x.about...)
	attrs = append(attrs, slog.String("result", x.Result), slog.Any("deploys", bounded(x.done.lines)))
	attrs = append(append(attrs, x.more...), slog.Int64("stored_bytes", x.Stored),
		slog.Int64("lock_wait_ms", x.LockWait.Milliseconds()), slog.Int64("ms", x.Took.Milliseconds()))
	if x.err != nil {
		attrs = append(attrs, slog.String("error", text.Shorten(x.err.Error(), maxLoggedError)))
	}
	e.cfg.Log.LogAttrs(ctx, slog.LevelInfo, string(x.Kind), attrs...)
	if e.cfg.Observe != nil {
		e.cfg.Observe(x.Report)
	}
}

// report reports a push at its end.
func (x *Session) report(ctx context.Context) {
	o, p := &x.outcome, x.push
	l := ending{
		Report: Report{Kind: record.KindPush, Repository: p.Repository, Took: time.Since(p.began)},
		who:    p.Who, err: errors.Join(o.Refused, o.Undeployed),
	}
	var namespaces []string
	var spent cost
	if p.run != nil {
		l.done, spent = resultsOf(p.run.deliveries), *p.run.cost
		for _, d := range p.run.deliveries {
			namespaces = append(namespaces, string(d.target.Namespace))
		}
	}
	l.Result = x.result(l.done)
	refs, from, to := []string{}, []string{}, []string{} // a list in JSON, also when it is empty
	for _, u := range o.Updates[:min(len(o.Updates), maxLogged)] {
		refs, from, to = append(refs, u.Ref), append(from, u.Old.String()), append(to, u.New.String())
	}
	l.about = []slog.Attr{
		slog.String("address", x.asked.Address), slog.String("push", p.id), slog.Int("updates", len(o.Updates)),
		slog.Any("refs", bounded(refs)), slog.Any("from", from), slog.Any("to", to),
	}
	l.more = []slog.Attr{
		slog.Any("namespaces", bounded(namespaces)), slog.Int("commits", l.done.commits),
		slog.Any("options", bounded(p.Options.All)), slog.Bool("forced", l.done.forced),
		slog.String("reason", text.Shorten(p.Options.Reason, maxLoggedValue)),
	}
	p.engine.report(ctx, &l, spent)
}

// result names what became of the push.
func (x *Session) result(done results) string {
	o := &x.outcome
	switch {
	case !o.Reached:
		return ResultNothing
	case errors.Is(o.Refused, errDryRun):
		return ResultDryRun
	case o.Refused != nil:
		return ResultRefused
	case o.Undeployed != nil:
		return ResultUndeployed
	case done.name() != "":
		return done.name()
	case x.push.skipped:
		return ResultSkipped
	case x.post:
		return ResultStored
	}
	return ResultNotMoved
}

// bounded keeps a list and each of its values short enough for a log line.
func bounded(list []string) []string {
	kept := []string{}
	for _, value := range list[:min(len(list), maxLogged)] {
		kept = append(kept, text.Shorten(value, maxLoggedValue))
	}
	if more := len(list) - maxLogged; more > 0 {
		kept = append(kept, text.More(more))
	}
	return kept
}
