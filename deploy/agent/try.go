package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"refship/deploy/agent/hook"
	"refship/deploy/agent/secret"
	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// step names a moment to the log: tests end the process there.
func (a *Agent) step(ctx context.Context, name string) { a.log.DebugContext(ctx, "step", "at", name) }

// ReasonPrepare: the operator's command has refused the release.
const ReasonPrepare fault.Reason = "prepare-refused"

// try reads the head and makes it run. revision is the one at which it was read; 0: it was not.
func (a *Agent) try(ctx context.Context, chain *store.Chain) (revision int64, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, a.cfg.SyncTimeout, &fault.Error{
		Kind: fault.Failed, What: fmt.Sprintf("the try took longer than %s", a.cfg.SyncTimeout), Reason: ReasonSlow,
	})
	defer cancel()
	state, err := chain.State(ctx)
	if err != nil {
		return 0, err
	}
	switched, err := a.run(ctx, chain, state)
	kind := failureOf(err)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = cause
	}
	a.refused = err != nil && isRewritten(err)
	if !errors.Is(err, errUndeployed) {
		a.metrics.tried(start, switched, err)
	}
	if err != nil {
		a.tellFailure(err, kind)
		return state.Revision, err
	}
	a.failures, a.waiting = 0, false
	return state.Revision, nil
}

// errUndeployed: there is no deploy to run yet.
var errUndeployed = errors.New(record.NoDeploy)

// ReasonSlow: a try took longer than the limit, which the program may raise.
const ReasonSlow fault.Reason = "try-slow"

func isRewritten(err error) bool {
	reason, _ := fault.ReasonOf(err)
	return reason == ReasonRewritten
}

// run makes run what the node may run of a chain, and tells whether another release ran before.
func (a *Agent) run(ctx context.Context, chain *store.Chain, state *record.State) (switched bool, err error) {
	head := state.Head
	a.wants, a.rings = 0, nil
	if head != nil {
		a.wants = head.ID
	}
	if err := a.believe(ctx, chain, head); err != nil {
		return false, err
	}
	running, err := a.site.Running()
	if err != nil {
		return false, err
	}
	if head == nil {
		return false, &fault.Error{Kind: fault.Failed, What: chain.Namespace().Undeployed(), Cause: errUndeployed}
	}
	a.metrics.wants(head)
	if !state.Rollout.Allows(a.cfg.Ring, head) {
		a.rings = &ringWait{head, a.notReleased(state.Rollout, head)}
		if head, err = a.chooseEarlier(ctx, chain, state.Rollout, running); err != nil {
			return false, err
		}
		a.wants = head.ID
	}
	if head, err = a.choose(ctx, chain, state.Head, head, running); err != nil {
		return false, err
	}
	release := site.ReleaseOf(head)
	if switched = !release.Is(running); switched {
		a.report.say(a.reportOf(running, record.NodeSwitching, head.ID, ""))
		if err := a.replace(ctx, chain, head, release, running, false); err != nil {
			return false, err
		}
	} else {
		release = running
	}
	if err := a.runs(ctx, release, running, head, switched); err != nil || a.rings == nil {
		return switched, err
	}
	a.metrics.wants(a.rings.head)
	a.tellRing(ctx)
	return switched, nil
}

// choose gives the deploy that is to run: the one that the rings allow, or an older one if others do not vouch for it.
// What runs, and is in the chain, is not replaced by an older one.
func (a *Agent) choose(
	ctx context.Context, chain *store.Chain, head, allowed *record.Deploy, running *site.Release,
) (*record.Deploy, error) {
	if a.cfg.Choose == nil {
		return allowed, nil
	}
	chosen, err := a.cfg.Choose(ctx, chain, head, allowed)
	if err != nil || running == nil || chosen.ID >= running.ID || running.ID > head.ID {
		return chosen, err
	}
	switch d, err := chain.Get(ctx, running.ID); {
	case fault.Is(err, fault.Corrupt):
		return chosen, nil
	case err != nil:
		return nil, err
	case site.ReleaseOf(d).Is(running):
		return d, nil
	}
	return chosen, nil
}

// replace fetches and prepares a release, and makes it run. anew: also if that was done before.
func (a *Agent) replace(
	ctx context.Context, chain *store.Chain, head *record.Deploy, r, running *site.Release, anew bool,
) error {
	start := time.Now()
	ready, err := a.site.Place(r, running, anew)
	if err != nil {
		return err
	}
	if !ready {
		if err := a.make(ctx, chain, head, r, running); err != nil {
			return errors.Join(err, a.site.Remove(r.Name))
		}
	}
	if a.cfg.NoLink {
		err = a.site.Fill(ctx, r, func(name string) { a.step(ctx, name) })
	} else {
		err = a.site.Switch(r, running, func() { a.step(ctx, "link-made") })
	}
	if err != nil {
		return err
	}
	a.step(ctx, "switched")
	a.drift.switched(time.Now().Add(a.cfg.CheckDrift))
	a.log.InfoContext(ctx, "switched", "id", r.ID, "hash", r.Hash, "dir", a.site.RunDir(r), "took", time.Since(start))
	return nil
}

// make fetches a release, has it prepared, and makes it ready.
func (a *Agent) make(ctx context.Context, chain *store.Chain, head *record.Deploy, r, running *site.Release) error {
	list := &lister{wanted: a.cfg.NoLink || a.cfg.CheckDrift > 0}
	earlier := store.Earlier{Nodes: chain.NewNodes(), Each: list.each}
	if a.nodes != nil {
		earlier.Nodes = chain.Kept(ctx, a.nodes, a.root)
	}
	if running != nil || a.cfg.NoLink {
		before, err := a.site.OpenRunning(running)
		if err == nil {
			defer before.Close()
			earlier.Root = before // without it everything is fetched
		}
	}
	a.step(ctx, "fetching")
	if err := chain.CheckoutAfter(ctx, head, a.site.Dir(r), earlier, func(text.Progress) {}); err != nil {
		return failedAs(record.FailedFetch, err)
	}
	a.step(ctx, "fetched")
	made, err := a.decrypt(ctx, r)
	if err != nil {
		return failedAs(record.FailedAge, err)
	}
	if err := a.describe(ctx, r, list, made); err != nil {
		return err
	}
	if a.cfg.Prepare != nil {
		if err := a.prepare(ctx, head, r, running, list); err != nil {
			return err
		}
	}
	if err := a.site.Ready(r, a.cfg.Prepare != nil || len(made) > 0, list.list); err != nil {
		return err
	}
	a.step(ctx, "ready")
	if head.Record != nil {
		a.nodes, a.root = earlier.Nodes, head.Record.Root()
	}
	return nil
}

// prepare runs the operator's command, in the release's own directory.
func (a *Agent) prepare(
	ctx context.Context, head *record.Deploy, r, running *site.Release, list *lister,
) error {
	release := a.hookRelease(r, running)
	release.Dir = a.site.Dir(r)
	if err := a.cfg.Prepare.Run(ctx, release); err != nil {
		return prepareError(ctx, head, err)
	}
	a.step(ctx, "prepared")
	return a.takePrepared(ctx, r, list)
}

// decrypt decrypts what is encrypted in a release.
func (a *Agent) decrypt(ctx context.Context, r *site.Release) ([]secret.Made, error) {
	dir, err := a.site.Open(r)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	made, left, err := a.identity.Decrypt(ctx, dir, a.cfg.AgeOptional)
	if err != nil {
		return nil, err
	}
	if len(left) > 0 {
		a.log.WarnContext(ctx, "encrypted for others", "left_out", left)
	}
	if len(made) > 0 {
		a.log.InfoContext(ctx, "decrypted", "files", len(made))
		a.step(ctx, "decrypted")
	}
	return made, nil
}

func prepareError(ctx context.Context, head *record.Deploy, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	told := &fault.Error{
		Kind: fault.Refused, Reason: ReasonPrepare, About: []string{head.ID.String()},
		What: fmt.Sprintf("prepare of deploy %d failed: %v", head.ID, err), Cause: err,
	}
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return told // it could not even be started, which is not the deploy's fault
	}
	return failedAs(record.FailedPrepare, told)
}

func (a *Agent) hookRelease(r, before *site.Release) *hook.Release {
	release := &hook.Release{ID: r.ID, Hash: r.Hash, Chain: a.ns, Dir: a.site.RunDir(r)}
	if before != nil {
		release.Previous = before.Hash
	}
	return release
}

// runs does what follows when a release runs. The first time after the start that counts as a switch: what followed the
// last one may not have been done.
func (a *Agent) runs(ctx context.Context, r, before *site.Release, head *record.Deploy, switched bool) error {
	now, err := a.site.Running()
	if err != nil {
		return err
	}
	a.metrics.runs(head, switched)
	if (switched || !a.synced) && !a.cfg.OneTime {
		for _, name := range a.hookNames {
			a.report.hookBegins(name, r.ID)
		}
	}
	a.report.say(a.reportOfRunning(now))
	var failed error
	if switched || !a.synced {
		if err := a.touch(); err != nil {
			return err
		}
		release := a.hookRelease(r, before)
		if !switched { // it is not known what ran before
			release.Previous = ""
		}
		failed = a.runHooks(ctx, release)
	}
	a.synced = true
	a.clearError(ctx)
	if err := a.site.Clean(a.cfg.KeepReleases, a.cfg.StaleTimeout); err != nil {
		return errors.Join(failed, fmt.Errorf("remove old releases: %w", err))
	}
	return failed
}

// runHooks has the hooks run for a release; with Config.OneTime they have run.
func (a *Agent) runHooks(ctx context.Context, release *hook.Release) (failed error) {
	for _, h := range a.hooks {
		if a.cfg.OneTime {
			failed = errors.Join(failed, h.Once(ctx, release))
		} else {
			h.Send(release)
		}
	}
	return failed
}

// reportOfRunning says that the release runs that should, and whether it is still what was deployed.
func (a *Agent) reportOfRunning(r *site.Release) record.NodeReport {
	id := record.ID(0)
	if r != nil {
		id = r.ID
	}
	switch {
	case a.drift.why != "":
		return a.reportOf(r, record.NodeDrifted, id, a.drift.why)
	case a.rings != nil:
		return a.reportOf(r, record.NodeWaiting, a.rings.head.ID, a.rings.why)
	}
	return a.reportOf(r, record.NodeRunning, id, "")
}

// tellFailure reports why a deploy does not run.
func (a *Agent) tellFailure(err error, kind record.NodeFailure) {
	state := record.NodeFailed
	switch {
	case a.refused:
		state = record.NodeRefused
	case errors.Is(err, errUndeployed):
		state = record.NodeWaiting
	}
	running, _ := a.site.Running() // what is wrong with the link is what err says
	report := a.reportOf(running, state, a.wants, err.Error())
	if report.State == record.NodeFailed {
		report.Failure = kind
	}
	a.report.say(report)
}

func (a *Agent) reportOf(running *site.Release, state record.NodeState, wants record.ID, why string) record.NodeReport {
	r := record.NodeReport{
		State: state, Wants: wants, Reason: why, Recipient: strings.Join(a.identity.Recipients, "\n"),
	}
	if running != nil {
		r.ID, r.Hash, r.Since = running.ID, running.Hash, running.Since.UTC()
	}
	return r
}
