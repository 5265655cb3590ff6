package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"refship/deploy/agent/files"
	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// ReasonDrifted: what runs is not what was deployed any more.
const ReasonDrifted fault.Reason = "drifted"

// maxDrifted is how many differences a report names.
const maxDrifted = 3

// drift is what a node knows of how what runs differs from what was deployed.
type drift struct {
	next time.Time // when to look again; zero: at once
	why  string    // how it differs; "": it does not, as far as is known
}

// switched: another release runs, which is right.
func (d *drift) switched(next time.Time) { *d = drift{next: next} }

// finding is the result of a look at what runs.
type finding struct {
	running     *site.Release // nil: nothing runs that is known
	list        files.List    // nil: it is not known what should be there
	differences []files.Difference
	err         error
}

// drifts says how what runs differs; "": it does not.
func (f *finding) drifts() string {
	switch {
	case f.err != nil:
		return f.err.Error()
	case len(f.differences) == 0:
		return ""
	}
	var words []string
	for i := range f.differences {
		if i == maxDrifted {
			words = append(words, text.More(len(f.differences)-i))
			break
		}
		words = append(words, f.differences[i].String())
	}
	return strings.Join(words, "; ")
}

// isGone tells that what ran does not run any more: it is time to try again.
func (f *finding) isGone() bool { return f.running == nil && f.err != nil }

// needsMaking tells whether something has drifted that only the node itself can make again, or it is not known what.
func (f *finding) needsMaking() bool {
	if f.list == nil {
		return true
	}
	for i := range f.differences {
		if d := &f.differences[i]; d.What != files.Extra && d.What != files.OtherMode && d.Entry.IsMade() {
			return true
		}
	}
	return false
}

// look compares what runs with its list. It changes nothing of the Agent.
func (a *Agent) look(ctx context.Context) (f finding) {
	f.running, f.err = a.site.Running()
	switch {
	case f.err != nil:
		return f
	case f.running == nil && a.synced && !a.cfg.NoLink:
		f.err = fmt.Errorf("%s does not lead to a release", a.site.Link())
		return f
	case f.running == nil || f.running.ID == 0:
		f.running = nil
		return f
	}
	list, err := a.site.List(f.running)
	if err != nil || list == nil {
		if err != nil {
			a.log.WarnContext(ctx, "the list of what was deployed is lost", "error", err)
		}
		return f
	}
	f.list = list
	dir, err := a.site.OpenRunning(f.running)
	if err != nil {
		f.err = err
		return f
	}
	defer dir.Close()
	looked, err := files.Compare(ctx, dir, list, !a.cfg.NoLink)
	f.differences, f.err = looked.Differences, err
	if err == nil && looked.Learned {
		f.err = a.site.SetList(f.running, list)
	}
	return f
}

// checkDrift looks at what runs if it is time, while there is no connection to etcd.
func (a *Agent) checkDrift(ctx context.Context) {
	if a.cfg.CheckDrift == 0 || time.Now().Before(a.drift.next) {
		return
	}
	f := a.look(ctx)
	a.found(ctx, &f)
}

// found tells what was found.
func (a *Agent) found(ctx context.Context, f *finding) {
	if ctx.Err() != nil {
		return
	}
	a.drift.next = time.Now().Add(a.cfg.CheckDrift)
	why := f.drifts()
	a.metrics.drifted(f)
	if f.running == nil && f.err == nil || why == a.drift.why {
		return
	}
	if a.drift.why = why; why == "" {
		a.log.InfoContext(ctx, "what runs is what was deployed again")
	} else {
		a.log.WarnContext(ctx, "what runs is not what was deployed", "drifted", why)
	}
	if a.failures == 0 { // else it is said why the head does not run
		a.report.say(a.reportOfRunning(f.running))
	}
}

// looking starts a look when it is time, and tells when it is done; stop ends it.
func (a *Agent) looking(ctx context.Context) (done <-chan finding, stop func()) {
	if a.cfg.CheckDrift == 0 {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	found, ended, next := make(chan finding, 1), make(chan struct{}), a.drift.next
	go func() {
		defer close(ended)
		if sleep(ctx, time.Until(next)) {
			found <- a.look(ctx)
		}
	}()
	return found, func() {
		cancel()
		<-ended
	}
}

// once is what is done with Config.OneTime after a success.
func (a *Agent) once(ctx context.Context, chain *store.Chain) error {
	if a.cfg.CheckDrift == 0 || time.Now().Before(a.drift.next) {
		return errEnough
	}
	f := a.look(ctx)
	a.takeIn(ctx, chain, &f)
	if a.drift.why != "" {
		return countedError{&fault.Error{
			Kind: fault.Failed, Reason: ReasonDrifted, What: a.site.Link() + " has drifted: " + a.drift.why,
		}}
	}
	return errEnough
}

// takeIn tells what was found, and puts it right where that is wanted. What has no list is made anew in any case: it was
// made when nobody asked for one.
func (a *Agent) takeIn(ctx context.Context, chain *store.Chain, f *finding) {
	unknown := f.list == nil
	if f.running == nil || f.err != nil || !unknown && (len(f.differences) == 0 || !a.cfg.Repair) {
		a.found(ctx, f)
		return
	}
	a.log.InfoContext(ctx, "putting right what runs", "id", f.running.ID, "drifted", f.drifts(), "anew", f.needsMaking())
	within, cancel := context.WithTimeout(ctx, a.cfg.SyncTimeout)
	defer cancel()
	err := a.repair(within, chain, f)
	switch {
	case err == nil:
		f.differences = nil
	case len(f.differences) == 0:
		f.err = fmt.Errorf("repair failed: %w", err)
	default:
		f.err = fmt.Errorf("%s; repair failed: %w", f.drifts(), err)
	}
	a.found(ctx, f)
}

// repair puts right what has drifted.
func (a *Agent) repair(ctx context.Context, chain *store.Chain, f *finding) error {
	d, err := chain.Get(ctx, f.running.ID)
	if err == nil && d.Damage != nil {
		err = d.Damage
	}
	if err != nil {
		return err
	}
	r := site.ReleaseOf(d)
	if !r.Is(f.running) {
		return fault.Newf(fault.Corrupt, "deploy %d is another one now", d.ID)
	}
	if f.needsMaking() {
		if err := a.replace(ctx, chain, d, r, f.running, true); err != nil {
			return err
		}
	} else {
		if err := a.mend(ctx, chain, d, f); err != nil {
			return err
		}
		r = f.running
	}
	return a.repaired(ctx, r, f)
}

// mend replaces what has drifted, with contents of etcd.
func (a *Agent) mend(ctx context.Context, chain *store.Chain, d *record.Deploy, f *finding) error {
	dir, err := a.site.OpenRunning(f.running)
	if err != nil {
		return err
	}
	defer dir.Close()
	m := &files.Mender{
		Root: dir, Step: func(name string) { a.step(ctx, "mend-"+name) },
		Content: func(ctx context.Context, e *files.Entry, to io.Writer) error {
			return chain.Content(ctx, d, entryOf(e), to)
		},
	}
	if a.cfg.NoLink { // what is in a directory that should be a file is not known to be a deploy's
		m.May = f.list.Has()
	}
	if err := m.Mend(ctx, f.differences, nil); err != nil {
		return err
	}
	looked, err := files.Compare(ctx, dir, f.list, !a.cfg.NoLink)
	if err != nil {
		return err
	}
	if f.differences = looked.Differences; len(f.differences) > 0 {
		return errors.New("it has drifted again")
	}
	return a.site.SetList(f.running, f.list)
}

// repaired has the hooks run: programs may have read what had drifted.
func (a *Agent) repaired(ctx context.Context, r *site.Release, f *finding) (err error) {
	a.metrics.repaired()
	if f.running, err = a.site.Running(); err != nil {
		return err
	}
	if err := a.touch(); err != nil {
		return err
	}
	if err := a.runHooks(ctx, a.hookRelease(r, r)); err != nil {
		return err
	}
	return a.site.Clean(a.cfg.KeepReleases, a.cfg.StaleTimeout)
}
