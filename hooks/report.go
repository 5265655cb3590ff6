package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"refship/deploy/record"
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
	Result     string        // as in the log line: "deployed", "refused", "stored", …
	Deploys    int           // published
	Took       time.Duration // from its beginning to its end
	LockWait   time.Duration // of Took, waiting for chain locks
	Stored     int64         // bytes that were put into etcd
}

// The results of pushes and deploys, as log lines and reports name them.
const (
	resultNothing    = "nothing"      // the push updated no ref
	resultDryRun     = "dry-run"      // refused, as asked for
	resultRefused    = "refused"      // no ref moved
	resultUndeployed = "not deployed" // a ref moved, or is where it was, and a deploy of it was not published
	resultDeployed   = "deployed"     // at least one deploy was published
	resultAlready    = "already deployed"
	resultUnchanged  = "unchanged" // nothing below a target's path
	resultSkipped    = "skipped"   // stored and, as asked for, not deployed
	resultStored     = "stored"    // no target's ref
	resultNotMoved   = "not moved" // git itself refused every ref after the hook, or was killed
)

// report writes the one line that the log has of each push, and tells what counts pushes.
func (x *Session) report(ctx context.Context) {
	o, p := &x.outcome, x.push
	took := time.Since(p.began)
	done, spent, namespaces := results{}, cost{}, []string(nil)
	if p.run != nil {
		done, spent = p.run.results(), *p.run.cost
		for _, d := range p.run.deliveries {
			namespaces = append(namespaces, string(d.target.Namespace))
		}
	}
	result := x.result(done)
	refs, from, to := []string{}, []string{}, []string{} // a list in JSON, also when it is empty
	for _, u := range o.Updates[:min(len(o.Updates), maxLogged)] {
		refs = append(refs, u.Ref)
		from = append(from, u.Old.String())
		to = append(to, u.New.String())
	}
	attrs := []slog.Attr{
		slog.String("repository", p.repository), slog.String("user", p.who.Name),
		slog.String("key", p.who.Key), slog.String("address", x.asked.Address), slog.String("push", p.id),
		slog.Int("updates", len(o.Updates)), slog.Any("refs", bounded(refs)), slog.Any("from", from),
		slog.Any("to", to),
		slog.String("result", result), slog.Any("deploys", bounded(done.lines)),
		slog.Any("namespaces", bounded(namespaces)),
		slog.Int("commits", done.commits), slog.Any("options", bounded(p.options.all)),
		slog.Bool("forced", done.forced),
		slog.String("reason", cut(p.options.reason, maxLoggedValue)),
		slog.Int64("stored_bytes", spent.stored), slog.Int64("lock_wait_ms", spent.lockWait.Milliseconds()),
		slog.Int64("ms", took.Milliseconds()),
	}
	if err := errors.Join(o.Refused, o.Undeployed); err != nil {
		attrs = append(attrs, slog.String("error", cut(err.Error(), maxLoggedError)))
	}
	p.engine.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "push", attrs...)
	p.engine.observe(Report{
		Kind: record.KindPush, Repository: p.repository, Result: result, Deploys: len(done.published),
		Took: took, LockWait: spent.lockWait, Stored: spent.stored,
	})
}

func (e *Engine) observe(r Report) {
	if e.cfg.Observe != nil {
		e.cfg.Observe(r)
	}
}

// result names what became of the push.
func (x *Session) result(done results) string {
	o := &x.outcome
	switch {
	case !o.Reached:
		return resultNothing
	case errors.Is(o.Refused, errDryRun):
		return resultDryRun
	case o.Refused != nil:
		return resultRefused
	case o.Undeployed != nil:
		return resultUndeployed
	case len(done.published) > 0:
		return resultDeployed
	case done.already:
		return resultAlready
	case done.unchanged:
		return resultUnchanged
	case x.push.skipped:
		return resultSkipped
	case x.post:
		return resultStored
	}
	return resultNotMoved
}

// bounded keeps a list and each of its values short enough for a log line.
func bounded(list []string) []string {
	kept := []string{}
	for _, value := range list[:min(len(list), maxLogged)] {
		kept = append(kept, cut(value, maxLoggedValue))
	}
	if more := len(list) - maxLogged; more > 0 {
		kept = append(kept, fmt.Sprintf("… and %d more", more))
	}
	return kept
}

// cut shortens text to so many bytes, whole characters only.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
