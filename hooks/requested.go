package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/intent"
	"refship/hooks/output"
	"refship/hooks/report"
	"refship/hooks/target"
	"refship/hooks/words"
)

var errAskerGone = errors.New("the client is gone, and the deploy was not yet begun")

// Deploy brings a repository's chains to where its refs are, because a user asks for it: first what pushes left, as
// their own user's; then every target whose ref is not what the head deployed, as the asking user's; of one target
// only if its name is given. It never makes a commit. tell gets each line as it happens, without "refship: ". The
// error joins what could not be done; everything else was done all the same.
//
// The targets' own checks, before which nothing of a deploy was written, end with client as well, and their deploys are
// not made; the error is client's cause, if it has one of its own. What has passed, or has no check, goes on without
// client. A nil client does not leave.
func (e *Engine) Deploy(ctx, client context.Context, name, gitDir, only string, who record.Pusher,
	tell func(string)) error {
	q := e.newRequested(client, name, gitDir, who, tell)
	err := q.deploy(ctx, only)
	q.reportDeploys(ctx, only, err)
	return err
}

func (e *Engine) newRequested(client context.Context, name, gitDir string, who record.Pusher,
	tell func(string)) *requested {
	return &requested{
		engine: e, client: client, name: name, gitDir: gitDir, who: who, began: time.Now(), cost: new(cost),
		out: &output.Output{Every: e.every, Send: func(line string) error { tell(line); return nil }},
	}
}

// requested is a deploy that a user asked for.
type requested struct {
	engine     *Engine
	client     context.Context // see Deploy
	name       string
	gitDir     string
	who        record.Pusher
	began      time.Time
	out        *output.Output
	cost       *cost
	left       []string    // what was published of that which pushes left
	deliveries []*delivery // of the asking user
}

func (q *requested) deploy(ctx context.Context, only string) error {
	targets, err := target.ReadTargets(q.gitDir)
	if err != nil {
		return err
	}
	if targets, err = target.Choose(q.name, targets, only); err != nil {
		return err
	}
	if len(targets) == 0 {
		q.out.Line("%s", target.NoneIn(q.name))
	}
	left := q.publishLeft(ctx, only, nil)
	now, err := git.ReadRefs(ctx, q.gitDir, target.Refs(targets))
	if err != nil {
		return errors.Join(left.err, err)
	}
	for _, t := range targets {
		at, exists := now[t.Ref]
		if left.isSettled(t) && !left.settled[t.Namespace] {
			continue // it was told why; and it stays the deploy of the user who pushed it
		}
		if !exists {
			q.out.Line("%s of %s does not exist yet: git push REMOTE BRANCH:%s", t.Ref, q.name, git.RefArg(t.Ref))
			continue
		}
		if err := q.target(ctx, t, at, len(targets) > 1); err != nil {
			left.err = errors.Join(left.err, fmt.Errorf("deploy %s of %s: %w", t.Ref, q.name, err))
		}
	}
	return left.err
}

// publishLeft publishes what pushes left, of one target only if its name is given; see reconciler.failed.
func (q *requested) publishLeft(ctx context.Context, only string, failed func(target.Target, error)) *reconciler {
	left := q.engine.reconciler(q.name, q.gitDir, q.out)
	left.cost, left.failed = q.cost, failed
	left.wanted = func(t target.Target) bool { return only == "" || t.Name == only }
	left.publishLeft(ctx)
	q.left = left.published
	return left
}

// Retry publishes what pushes to a repository left, as Deploy does, and nothing else: for a push that finds its refs
// moved already. tell gets each line, also of what could not be published. What is given up for a later decision is an
// error, too: the push is not deployed.
func (e *Engine) Retry(ctx context.Context, name, gitDir string, who record.Pusher, tell func(string)) error {
	waiting, err := intent.List(gitDir)
	if err != nil {
		err = &fault.Error{Kind: fault.Failed, What: err.Error(), Cause: err,
			Remedy: "this is not about your repository: the server's operator must look at it; the server's log says more"}
		for _, line := range words.Explain(e.cfg.Remedy, "it is not known whether all is deployed", err) {
			tell(line)
		}
		return err
	}
	if !slices.ContainsFunc(waiting, func(push string) bool { return !e.isRunning(push) }) {
		return nil
	}
	q := e.newRequested(ctx, name, gitDir, who, tell)
	told := false
	left := q.publishLeft(ctx, "", func(t target.Target, err error) {
		told = true
		q.out.Lines(e.undeployed(name, t, err))
	})
	err = left.err
	if err != nil && !told {
		q.out.Lines(words.Explain(e.cfg.Remedy, words.Undeployed, err))
	}
	err = errors.Join(err, left.givenUp)
	q.reportDeploys(ctx, "", err)
	return err
}

// Waiting says what earlier pushes to a repository left undeployed that its refs still have, and how to deploy it: for
// a push that sent other refs. told are the refs of which that push has said so itself.
func (e *Engine) Waiting(ctx context.Context, name, gitDir string, told map[string]error) ([]string, error) {
	return e.statusReader().Waiting(ctx, name, gitDir, told, e.commands.Redeploy)
}

// target deploys what one target's ref has.
func (q *requested) target(ctx context.Context, t target.Target, at git.OID, several bool) error {
	d := q.engine.newDelivery(t, q.engine.NewJob(record.KindDeploy, q.name, t, at, q.who))
	d.job.Moved = true
	if several {
		d.label = labelOf(t)
	}
	one := q.engine.newRun(q.gitDir, q.out, d)
	one.client, one.gone, one.cost = q.client, errAskerGone, q.cost
	q.deliveries = append(q.deliveries, d)
	return one.deliver(ctx)
}

// reportDeploys reports what was deployed, at its end.
func (q *requested) reportDeploys(ctx context.Context, only string, err error) {
	done := resultsOf(q.deliveries)
	done.lines = append(q.left, done.lines...)
	result := cmp.Or(done.name(), report.Nothing)
	switch {
	case err != nil && len(done.lines) == 0 && !concernsAll(err):
		result = report.Refused
	case err != nil:
		result = report.Undeployed
	}
	refused := &report.Refusal{
		Repository: q.name, GitDir: q.gitDir, Who: q.who, Moved: true, Err: err,
	}
	for _, d := range q.deliveries {
		if err != nil && !d.published && !d.idle() {
			refused.Targets = append(refused.Targets, d.target)
			refused.Updates = append(refused.Updates, git.RefUpdate{Ref: d.target.Ref, New: d.job.Commit})
		}
	}
	q.engine.tellRefused(ctx, refused)
	q.report(ctx, result, &done, err, report.Value("target", only))
}

func (q *requested) report(ctx context.Context, result string, done *results, err error, about ...slog.Attr) {
	q.engine.report(ctx, &report.Line{
		Report: report.Report{
			Kind: record.KindDeploy, Repository: q.name, Result: result, Took: time.Since(q.began),
		},
		Who: q.who, Err: err, About: about,
	}, done, q.cost)
}
