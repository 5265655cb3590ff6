package hooks

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/hooks/output"
	"refship/hooks/report"
	"refship/hooks/target"
	"refship/hooks/words"
)

// Place is a chain, and the target that deploys into it.
type Place struct {
	Repository string        // name; "": there is only the chain
	GitDir     string        // of the repository, which knows what descends from what; ""
	Target     target.Target // without a name only its namespace counts
}

// FindPlace finds the chain of a repository's target with a name, or of its only one if that is "".
func FindPlace(repository, gitDir, name string) (Place, error) {
	targets, err := target.ReadTargets(gitDir)
	if err != nil {
		return Place{}, err
	}
	t, err := target.ChooseOne(repository, targets, name)
	return Place{repository, gitDir, t}, err
}

// Rollback asks to publish an earlier deploy of a chain again.
type Rollback struct {
	Place
	Deploy string // as record.ParseSelector reads it
	Who    record.Pusher
	Reason string
	Hold   bool // hold the chain with it, unless it is held
	// From is the one head that it may replace; 0: whichever is there. Then no person has asked for it, and a hold keeps
	// it, too.
	From record.ID
	Tell func(string)
}

// Rollback publishes an earlier deploy's content as a new deploy. Nothing is uploaded, no check is run, and the table
// of previous hashes is skipped; a head other than the one that the deploy was chosen under is a fault.Conflict. Where
// the head is that very deploy, nothing is published; the chain is held all the same.
func (e *Engine) Rollback(ctx context.Context, ask *Rollback) (*Made, error) {
	out := &output.Output{Every: e.every, Send: func(line string) error { ask.Tell(line); return nil }}
	one := e.newRun(ask.GitDir, out)
	job, err := e.newRollback(ctx, ask)
	if err == nil {
		one.deliveries = append(one.deliveries, e.newDelivery(ask.Target, job))
		err = e.rollBack(ctx, one)
	}
	e.reportRollback(ctx, ask, one, err)
	if err != nil {
		return nil, err
	}
	d := one.deliveries[0]
	return &Made{Deploy: d.deploy, Verdict: d.verdict, Prepared: d.read}, nil
}

// newRollback makes the job that is asked for.
func (e *Engine) newRollback(ctx context.Context, ask *Rollback) (*deploy.Job, error) {
	if err := checkReason(ask.Reason, "a rollback needs a reason, which its record keeps"); err != nil {
		return nil, err
	}
	to, err := record.ParseSelector(ask.Deploy)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Usage, Cause: err}
	}
	job, err := e.cfg.Store.Chain(ask.Target.Namespace).NewRollback(ctx, to)
	if err != nil {
		return nil, err
	}
	job.Pusher, job.Reason, job.Server = ask.Who, ask.Reason, e.cfg.Host
	job.Signer, job.Rotation = e.currentSigner(), e.cfg.Rotation
	if ask.Target.Name != "" {
		job.Repository, job.Target = ask.Repository, ask.Target.Name
	}
	if ask.From != 0 {
		job.From, job.Unasked = ask.From, true
	}
	if ask.Hold {
		job.Hold = e.newHold(ask.Who, ask.Reason)
	}
	return job, nil
}

func checkReason(reason, missing string) error {
	if strings.TrimSpace(reason) == "" {
		return fault.New(fault.Refused, missing, "say why")
	}
	return record.CheckReason(reason)
}

// rollBack takes a run through that has a rollback's delivery.
func (e *Engine) rollBack(ctx context.Context, one *run) error {
	d := one.deliveries[0]
	d.checked = true
	if err := one.deliver(ctx); err != nil || d.job.Hold == nil || d.verdict.Held != nil {
		return err
	}
	if !d.published {
		if err := d.chain.Hold(ctx, d.job.Hold); err != nil {
			return err
		}
	}
	one.out.Line("%s", heldWords(d.target.Namespace))
	return nil
}

func (e *Engine) newHold(who record.Pusher, reason string) *record.Hold {
	return &record.Hold{User: who.Name, Host: e.cfg.Host, Reason: reason, Since: now()}
}

// now is the time as records have it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// reportRollback reports a rollback at its end; one has no delivery if it did not get so far.
func (e *Engine) reportRollback(ctx context.Context, ask *Rollback, one *run, err error) {
	done, to := resultsOf(one.deliveries), record.ID(0)
	for _, d := range one.deliveries {
		to = d.job.To.ID
	}
	result := done.name()
	switch {
	case deploy.IsEtcd(err):
		result = report.Undeployed
	case err != nil:
		result = report.Refused
	}
	e.report(ctx, &report.Line{
		Report: report.Report{
			Kind: record.KindRollback, Repository: ask.Repository, Result: result, Took: time.Since(one.began),
		},
		Who: ask.Who, Err: err,
		About: []slog.Attr{
			slog.String("namespace", string(ask.Target.Namespace)),
			report.Value("asked", ask.Deploy), slog.Uint64("to", uint64(to)),
			report.Value("reason", ask.Reason), slog.Bool("hold", ask.Hold),
		},
	}, &done, one.cost)
}

// Hold keeps a chain from going on, but by rollbacks, and gives what to say of it.
func (e *Engine) Hold(ctx context.Context, at Place, who record.Pusher, reason string) (string, error) {
	if err := checkReason(reason, "a hold needs a reason, which is told to each pusher"); err != nil {
		return "", err
	}
	ns := at.Target.Namespace
	err := e.cfg.Store.Chain(ns).Hold(ctx, e.newHold(who, reason))
	e.cfg.Log.InfoContext(ctx, "hold", "namespace", ns, "user", who.Name, "key", who.Key, "reason", reason, "error", err)
	return heldWords(ns), err
}

func heldWords(ns record.Namespace) string { return string(ns) + " is on hold from now on" }

// Promote releases the head to the next ring of a chain's rollout, and gives what to say of it.
func (e *Engine) Promote(ctx context.Context, at Place, who record.Pusher) (string, error) {
	ns := at.Target.Namespace
	done, err := e.cfg.Store.Chain(ns).Promote(ctx, record.Event{User: who.Name, Host: e.cfg.Host, Time: now()})
	e.cfg.Log.InfoContext(ctx, "promote", "namespace", ns, "user", who.Name, "key", who.Key, "ring", done.Ring, "error", err)
	switch {
	case err != nil:
		return "", err
	case done.Rollout == nil:
		return string(ns) + " has no rollout: all nodes may run its head", nil
	case done.Ring == "":
		return fmt.Sprintf("deploy %d of %s was released to all rings before", done.Rollout.ID, ns), nil
	}
	return strings.Join(words.Released(done.Rollout), ""), nil
}

// Resume lets a chain go on, and gives what to say of it. Another user's hold is ended only with force.
func (e *Engine) Resume(ctx context.Context, at Place, who record.Pusher, reason string, force bool) (string, error) {
	if err := record.CheckReason(reason); err != nil {
		return "", err
	}
	ns := at.Target.Namespace
	h, err := e.cfg.Store.Chain(ns).Resume(ctx, &record.Event{
		Kind: record.EventResume, User: who.Name, Host: e.cfg.Host, Reason: reason, Time: now(),
	}, force)
	e.cfg.Log.InfoContext(ctx, "resume", "namespace", ns, "user", who.Name, "key", who.Key, "was_held", h != nil, "error",
		err)
	if h == nil {
		return string(ns) + " is not on hold", err
	}
	return string(ns) + " goes on; it was on hold" + h.String(), err
}
