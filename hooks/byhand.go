package hooks

import (
	"context"
	"fmt"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// ByHand is one deploy that somebody asks for by naming what: a commit of a repository, or a plain directory.
type ByHand struct {
	GitDir   string        // of the repository; "" for a plain directory
	Target   target.Target // whose check is run, and whose broken-off pushes are deployed first; without a name there are none
	Job      *deploy.Job   // as NewJob makes it; of a commit without Repo
	DryRun   bool          // write nothing, say what would be deployed
	Say      func(string)
	Progress func(text.Progress)
}

// Made is what became of a deploy by hand.
type Made struct {
	Deploy   *record.Deploy   // published, or the head where there was nothing to do; nil: a dry run
	Verdict  *deploy.Verdict  // with Idle there was nothing to do
	Prepared *deploy.Prepared // nil where there was nothing to do
}

// NewJob makes the wish to deploy something by hand with a target's settings: the caller adds what, and why.
func (s *Deployer) NewJob(repository string, t target.Target, who record.Pusher) *deploy.Job {
	job := s.job(repository, t, [20]byte{}, who)
	job.Kind = record.KindDeploy
	return job
}

// DeployByHand deploys, as its caller says. It tells the previous hash before it does anything. Force overrides the one
// head that was told.
func (s *Deployer) DeployByHand(ctx context.Context, b *ByHand) (*Made, error) {
	say := func(line string) { b.Say(text.Printable(line)) }
	job := *b.Job
	if b.GitDir != "" {
		leave, err := intent.Enter(b.GitDir)
		if err != nil {
			return nil, err
		}
		defer leave()
		repo, err := deploy.OpenRepository(ctx, b.GitDir, nil)
		if err != nil {
			return nil, err
		}
		defer repo.Close()
		job.Repo = repo
		if err := b.checkRef(ctx, &job); err != nil {
			return nil, err
		}
	}
	chain := s.cfg.Store.Chain(b.Target.Namespace)
	head, err := chain.Head(ctx)
	if err != nil {
		return nil, err
	}
	say(previousHash(chain, head))
	if s.settleFor(ctx, b, say) {
		if head, err = chain.Head(ctx); err != nil {
			return nil, err
		}
		say(previousHash(chain, head))
	}
	v, err := chain.Check(ctx, &job)
	if err != nil {
		return nil, err
	}
	for _, line := range warnings(v, &job, b.DryRun) {
		say(line)
	}
	if job.Force && v.Forced == nil {
		say("--force was not needed: there is nothing to override")
	}
	made := &Made{Verdict: v}
	w := &work{
		server: s, chain: chain, job: &job, over: over(v), unchecked: &b.Target, say: say, progress: b.Progress, cost: new(cost),
		tell: func(p *deploy.Prepared) {
			made.Prepared = p
			for _, line := range amounts(&job, p) {
				say(line)
			}
		},
	}
	if b.DryRun {
		return made, w.tryAll(ctx, made)
	}
	start := time.Now()
	if made.Deploy, made.Verdict, err = w.do(ctx); err != nil {
		return nil, err
	}
	say(s.outcome(b.Target, made, time.Since(start)))
	s.settleFor(ctx, b, say) // what could not be deployed before may have come to its end by this
	return made, nil
}

// git.CheckRef refuses a commit that is not in the target's ref: each push to that would be refused afterwards.
func (b *ByHand) checkRef(ctx context.Context, job *deploy.Job) error {
	if b.Target.Name == "" || job.Force {
		return nil
	}
	at, err := git.ReadRef(ctx, b.GitDir, b.Target.Ref)
	if err != nil || at.IsZero() {
		return err
	}
	between, err := job.Repo.Between(ctx, job.Commit, at, 0)
	if err != nil {
		return fmt.Errorf("compare %s with %s: %w", job.Hash().Short(), b.Target.Ref, err)
	}
	if between.Related {
		return nil
	}
	return &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("%s is not in %s, which the target %s deploys: pushes to %s would be refused afterwards",
			job.Hash().Short(), git.ShortRef(b.Target.Ref), b.Target.Name, git.ShortRef(b.Target.Ref)),
		Remedy: fmt.Sprintf("bring it into %s first; or give it a chain of its own, with --namespace NS; or --force --reason TEXT", git.ShortRef(b.Target.Ref)),
	}
}

// settleFor deploys what pushes to the target left behind, so far as that can be done, and tells whether it deployed any.
func (s *Deployer) settleFor(ctx context.Context, b *ByHand, say func(string)) bool {
	if b.Target.Name == "" || b.GitDir == "" || b.DryRun {
		return false
	}
	r := s.reconciler(b.Job.Repository, b.GitDir)
	r.wanted = func(t target.Target) bool { return t.Name == b.Target.Name }
	r.note(r.intents(ctx))
	for _, line := range r.lines {
		say(line)
	}
	if r.err != nil {
		for _, line := range s.explain("a push that was broken off is left as it is", r.err) {
			say(line)
		}
	}
	return len(r.published) > 0
}

// previousHash says what a deploy is held against.
func previousHash(chain *deploy.Chain, head *record.Deploy) string {
	switch {
	case head == nil:
		return fmt.Sprintf("previous hash: none, %s has no deploy yet", chain.Namespace())
	case head.Hash == "":
		return fmt.Sprintf("previous hash: unknown, deploy %d of %s by %s has none", head.ID, chain.Namespace(), head.By())
	}
	return fmt.Sprintf("previous hash: %s, deploy %d of %s by %s", head.Hash, head.ID, chain.Namespace(), head.By())
}

// tryAll does all that a deploy does but for the lock and what comes after it.
func (w *work) tryAll(ctx context.Context, made *Made) error {
	if made.Verdict.Idle() {
		w.say(idle(made.Verdict, w.unchecked.Path, w.chain))
		return nil
	}
	p, err := w.load(ctx, nil)
	switch {
	case err != nil:
		return err
	case p.Verdict.Idle():
		made.Verdict = p.Verdict
		w.say(idle(p.Verdict, w.unchecked.Path, w.chain))
		return nil
	}
	w.tell(p)
	if _, err := w.tryOut(ctx, p.Verdict); err != nil {
		return err
	}
	made.Verdict = p.Verdict
	tellDryRun(string(w.job.Hash()), p.Verdict, p, w.say)
	w.say("dry run: nothing was deployed")
	return nil
}

// outcome says what became of a deploy by hand.
func (s *Deployer) outcome(t target.Target, made *Made, took time.Duration) string {
	if made.Verdict.Idle() {
		return idle(made.Verdict, t.Path, s.cfg.Store.Chain(t.Namespace))
	}
	return published(made.Deploy, took) + s.unsigned()
}

// idle says why there is nothing to deploy.
func idle(v *deploy.Verdict, path string, chain *deploy.Chain) string {
	if v.Already {
		return fmt.Sprintf("%s is already deployed as %d of %s", v.Head.Hash.Short(), v.Head.ID, chain.Namespace())
	}
	return unchanged(target.Target{Path: path, Namespace: chain.Namespace()}, v.Head)
}
