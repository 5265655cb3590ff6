package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// Deploy brings a repository's chains to where its refs are, because somebody asks for it: first what pushes left behind,
// as their own user; then every target whose ref is not what the head deployed, as the asking user; of one target only if
// its name is given. It never makes a commit. say gets each line as it happens, without "refship: ". The error joins what
// could not be done; everything else was done all the same.
//
// Whoever asks may leave: the targets' own checks, before which nothing of a deploy was written, end with client as well,
// and their deploys are not made; the error is client's cause, if it has one of its own. Whatever has passed, or has no
// check, goes on without client. A nil client does not leave.
func (s *Deployer) Deploy(ctx, client context.Context, name, gitDir, target string, who record.Pusher, say func(string)) error {
	o := &order{server: s, client: client, name: name, gitDir: gitDir, who: who, say: func(line string) { say(text.Printable(line)) }}
	start := time.Now()
	err := o.deploy(ctx, target)
	o.report(ctx, target, time.Since(start), err)
	return err
}

// order is a deploy that somebody asked for.
type order struct {
	server    *Deployer
	client    context.Context // see Deploy
	name      string
	gitDir    string
	who       record.Pusher
	say       func(string)
	cost      cost
	several   bool     // targets are deployed: each line names its chain
	published []string // "/refship/config 7"
	already   bool
	unchanged bool
}

func (o *order) deploy(ctx context.Context, one string) error {
	targets, err := target.ReadTargets(o.gitDir)
	if err != nil {
		return err
	}
	if targets, err = chooseTargets(o.name, targets, one); err != nil {
		return err
	}
	o.several = len(targets) > 1
	if len(targets) == 0 {
		o.say(o.name + " has no target")
	}
	left := o.server.reconciler(o.name, o.gitDir)
	left.cost = &o.cost
	left.wanted = func(t target.Target) bool { return one == "" || t.Name == one }
	left.note(left.intents(ctx))
	for _, line := range left.lines {
		o.say(line)
	}
	o.published = append(o.published, left.published...)
	now, err := git.ReadRefs(ctx, o.gitDir, refsOf(targets))
	if err != nil {
		return errors.Join(left.err, err)
	}
	for _, t := range targets {
		at, exists := now[t.Ref]
		if left.spokeOf(t) && !left.settled[t.Namespace] {
			continue // it was told why; and it stays the deploy of whoever pushed it
		}
		if !exists {
			o.say(fmt.Sprintf("%s of %s does not exist yet: git push REMOTE BRANCH:%s", t.Ref, o.name, git.ShortRef(t.Ref)))
			continue
		}
		if err := o.target(ctx, t, at); err != nil {
			left.err = errors.Join(left.err, fmt.Errorf("deploy %s of %s: %w", t.Ref, o.name, err))
		}
	}
	return left.err
}

// target deploys what one target's ref has.
func (o *order) target(ctx context.Context, t target.Target, at plumbing.Hash) error {
	s, start, label := o.server, time.Now(), ""
	if o.several {
		label = string(t.Namespace) + ": "
	}
	job := s.job(o.name, t, at, o.who)
	job.Kind = record.KindDeploy
	w := &work{
		server: s, gitDir: o.gitDir, chain: s.cfg.Chain(t.Namespace), job: job, unchecked: &t, client: o.client,
		say: o.say, tell: sayPicked(job, func(line string) { o.say(label + line) }), progress: func(text.Progress) {}, cost: &o.cost,
	}
	d, v, err := w.do(ctx)
	switch {
	case err != nil:
		return err
	case v.Already:
		o.already = true
		o.say(fmt.Sprintf("%s of %s, %s, is already deployed as %d of %s", t.Ref, o.name, d.Hash.Short(), d.ID, t.Namespace))
	case v.Same:
		o.unchanged = true
		o.say(unchanged(t, d))
	default:
		o.published = append(o.published, fmt.Sprintf("%s %d", t.Namespace, d.ID))
		for _, warning := range warnings(v, job, false) {
			o.say(label + warning)
		}
		o.say(label + published(d, time.Since(start)))
	}
	return nil
}

// report writes the one line that the log has of each deploy that was asked for, and tells whoever counts.
func (o *order) report(ctx context.Context, target string, took time.Duration, err error) {
	result := resultNothing
	switch {
	case err != nil && len(o.published) == 0 && !concernsAll(err):
		result = resultRefused
	case err != nil:
		result = resultUndeployed
	case len(o.published) > 0:
		result = resultDeployed
	case o.already:
		result = resultAlready
	case o.unchanged:
		result = resultUnchanged
	}
	attrs := []slog.Attr{
		slog.String("repository", o.name), slog.String("target", cut(target, maxLoggedValue)), slog.String("user", o.who.Name),
		slog.String("key", o.who.Key), slog.String("result", result), slog.Any("deploys", bounded(o.published)),
		slog.Int64("stored_bytes", o.cost.stored), slog.Int64("lock_wait_ms", o.cost.lockWait.Milliseconds()),
		slog.Int64("ms", took.Milliseconds()),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", cut(err.Error(), maxLoggedError)))
	}
	o.server.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "deploy", attrs...)
	o.server.observe(Report{
		Kind: record.KindDeploy, Repository: o.name, Result: result, Deploys: len(o.published),
		Took: took, LockWait: o.cost.lockWait, Stored: o.cost.stored,
	})
}
