package hooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/output"
	"refship/hooks/target"
	"refship/hooks/words"
)

// ReasonOutsideRef: a commit is not in the ref that its target deploys. About: the ref.
const ReasonOutsideRef fault.Reason = "commit-outside-ref"

// Manual is one deploy that a user asks for by naming what: a commit of a repository, or a plain directory.
type Manual struct {
	GitDir   string        // of the repository; "" for a plain directory
	Target   target.Target // its check is run, its broken-off pushes are deployed first; no name: no target
	Job      *deploy.Job   // as NewJob makes it; of a commit without Repo
	Wait     time.Duration // for nodes that run it; 0: as the target says
	DryRun   bool          // write nothing, say what would be deployed
	Keep     bool          // the repository is a server's: keep the commit in it, whatever becomes of its refs
	Tell     func(string)
	Progress func(text.Progress)
}

// Made is what became of a manual deploy.
type Made struct {
	Deploy   *record.Deploy // published, or the head where there was nothing to do; nil: neither, a dry run
	Verdict  *deploy.Verdict
	Prepared *deploy.Prepared // nil: nothing was read
}

// DeployManually deploys and, if asked to, waits for nodes: where not all of them run it there is an error beside what
// was made. It deploys as its caller says. It tells the previous hash before it does anything. Force overrides the
// one head that was told.
func (e *Engine) DeployManually(ctx context.Context, m *Manual) (*Made, error) {
	out := &output.Output{Progress: m.Progress, Send: func(line string) error { m.Tell(line); return nil }}
	if m.GitDir != "" {
		leave, err := intent.Enter(m.GitDir)
		if err != nil {
			return nil, err
		}
		defer leave()
		inRef, err := m.checkRef(ctx)
		if err != nil {
			return nil, err
		}
		if m.Keep && !inRef && !m.DryRun { // a push that moves a deployed ref keeps what that leads to
			if err := git.KeepReplaced(ctx, m.GitDir, m.Job.Commit); err != nil {
				return nil, err
			}
		}
	}
	d := e.newDelivery(m.Target, m.Job)
	if err := tellPrevious(ctx, d.chain, out); err != nil {
		return nil, err
	}
	if e.settleFor(ctx, m, out) {
		if err := tellPrevious(ctx, d.chain, out); err != nil {
			return nil, err
		}
	}
	one := e.newRun(m.GitDir, out, d)
	one.announce, one.dryRun = true, m.DryRun
	switch err := one.deliver(ctx); {
	case errors.Is(err, errDryRun) && !d.idle():
		out.Line("dry run: nothing was deployed")
	case err != nil && !errors.Is(err, errDryRun):
		return nil, err
	}
	if !m.DryRun {
		e.settleFor(ctx, m, out) // what could not be deployed before may have come to its end by this
	}
	return &Made{Deploy: d.deploy, Verdict: d.verdict, Prepared: d.read}, e.await(ctx, out, m.Wait, d)
}

// checkRef tells whether the commit is in the ref that its target deploys. It refuses one that is not, but with force:
// each push to the ref would be refused afterwards.
func (m *Manual) checkRef(ctx context.Context) (inRef bool, err error) {
	if m.Target.Name == "" || m.Job.Force && !m.Keep {
		return false, nil
	}
	at, err := git.ReadRef(ctx, m.GitDir, m.Target.Ref)
	if err != nil || at.IsZero() {
		return false, err
	}
	inRef, err = git.IsAncestor(ctx, m.GitDir, nil, m.Job.Commit, at)
	if err != nil {
		return false, fmt.Errorf("compare %s with %s: %w", short(m.Job.Commit), m.Target.Ref, err)
	}
	if inRef || m.Job.Force {
		return inRef, nil
	}
	ref := git.ShortRef(m.Target.Ref)
	return false, &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("%s is not in %s, which the target %s deploys: pushes to %s would be refused afterwards",
			short(m.Job.Commit), ref, m.Target.Name, ref),
		Remedy: "bring it into " + ref + " first",
		Reason: ReasonOutsideRef, About: []string{ref},
	}
}

// settleFor deploys what pushes to the target left, as far as possible, and tells whether it deployed any.
func (e *Engine) settleFor(ctx context.Context, m *Manual, out *output.Output) bool {
	if m.Target.Name == "" || m.GitDir == "" || m.DryRun {
		return false
	}
	r := e.reconciler(m.Job.Repository, m.GitDir, out)
	r.wanted = func(t target.Target) bool { return t.Name == m.Target.Name }
	r.publishLeft(ctx)
	if r.err != nil {
		out.Lines(words.Explain(e.cfg.Remedy, "a push that was broken off is left as it is", r.err))
	}
	return len(r.published) > 0
}

// tellPrevious says what a deploy is compared with.
func tellPrevious(ctx context.Context, chain *deploy.Chain, out *output.Output) error {
	state, err := chain.State(ctx)
	if err != nil {
		return err
	}
	out.Line("%s", words.Previous(chain.Namespace(), state.Head))
	return nil
}
