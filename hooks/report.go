package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"refship/deploy/record"
	"refship/hooks/report"
)

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
		return report.Deployed
	case done.already:
		return report.Already
	case done.unchanged:
		return report.Unchanged
	}
	return ""
}

// report writes the one line that the log has of a push or deploy, and tells what counts them.
func (e *Engine) report(ctx context.Context, line *report.Line, done *results, spent *cost) {
	line.Published, line.Deploys = done.lines, len(done.lines)
	line.LockWait, line.Stored = spent.lockWait, spent.stored
	line.Write(ctx, e.cfg.Log)
	if e.cfg.Observe != nil {
		e.cfg.Observe(line.Report)
	}
}

// tellRefused tells who wants to know of what is not deployed.
func (e *Engine) tellRefused(ctx context.Context, r *report.Refusal) {
	if e.cfg.Refused != nil && len(r.Targets) > 0 && r.Err != nil {
		e.cfg.Refused(ctx, r)
	}
}

// refusal is what is not deployed of the push, if it was to be.
func (x *Session) refusal(result string) *report.Refusal {
	o, p := &x.outcome, x.push
	r := &report.Refusal{
		Repository: p.Repository, GitDir: p.GitDir, Who: p.Who, Moved: result == report.Undeployed, Updates: o.Updates,
		Err: o.Refused,
	}
	if r.Moved {
		r.Err = o.Undeployed
	}
	for _, u := range o.Updates {
		if !r.Moved || o.NotDeployed[u.Ref] != nil {
			r.Targets = append(r.Targets, p.TargetsOf(u.Ref)...)
		}
	}
	return r
}

// report reports a push at its end.
func (x *Session) report(ctx context.Context) {
	o, p := &x.outcome, x.push
	var namespaces []string
	var done results
	spent := new(cost)
	if p.run != nil {
		done, spent = resultsOf(p.run.deliveries), p.run.cost
		for _, d := range p.run.deliveries {
			namespaces = append(namespaces, string(d.target.Namespace))
		}
	}
	refs, from, to := []string{}, []string{}, []string{} // a list in JSON, also when it is empty
	for _, u := range o.Updates[:min(len(o.Updates), report.MaxList)] {
		refs, from, to = append(refs, u.Ref), append(from, u.Old.String()), append(to, u.New.String())
	}
	result := x.result(done)
	if result == report.Refused || result == report.Undeployed {
		p.engine.tellRefused(ctx, x.refusal(result))
	}
	p.engine.report(ctx, &report.Line{
		Report: report.Report{
			Kind: record.KindPush, Repository: p.Repository, Result: result,
			Took: time.Since(p.began) - p.awaited,
		},
		Who: p.Who, Err: errors.Join(o.Refused, o.Undeployed),
		About: []slog.Attr{
			slog.String("address", x.asked.Address), slog.String("push", p.id), slog.Int("updates", len(o.Updates)),
			report.List("refs", refs), slog.Any("from", from), slog.Any("to", to),
		},
		More: []slog.Attr{
			report.List("namespaces", namespaces), slog.Int("commits", done.commits),
			report.List("options", p.Options.All), slog.Bool("forced", done.forced),
			report.Value("reason", p.Options.Reason),
		},
	}, &done, spent)
}

// result names what became of the push.
func (x *Session) result(done results) string {
	o := &x.outcome
	switch {
	case !o.Reached:
		return report.Nothing
	case errors.Is(o.Refused, errDryRun):
		return report.DryRun
	case o.Refused != nil:
		return report.Refused
	case o.Undeployed != nil:
		return report.Undeployed
	case done.name() != "":
		return done.name()
	case x.push.skipped:
		return report.Skipped
	case x.post:
		return report.Stored
	}
	return report.NotMoved
}
