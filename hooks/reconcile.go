package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/output"
	"refship/hooks/stale"
	"refship/hooks/status"
	"refship/hooks/target"
)

// Reconcile brings one repository and its chains together again: intents whose ref is at their new oid are published,
// as their own user's; the others are dropped. A ref that is ahead of its chain without an intent is reported and
// never deployed by itself. With exclusive (no push can be running) stale locks and quarantine folders of dead pushes
// are removed.
//
// Each line of the result is something to tell the operator, without "refship: ". The error joins what could not be
// done; everything else was done all the same.
func (e *Engine) Reconcile(ctx context.Context, name, gitDir string, exclusive bool) ([]string, error) {
	var lines []string
	r := e.reconciler(name, gitDir, output.Collect(&lines))
	if exclusive {
		r.note(r.clean())
	}
	r.publishLeft(ctx)
	r.note(r.compare(ctx))
	return lines, r.err
}

// clean removes what dead pushes left (package stale), and tells what it cannot mend.
func (r *reconciler) clean() error {
	found, err := stale.Find(r.gitDir)
	if err != nil {
		return err
	}
	for _, ref := range found.EmptyRefs {
		err := git.EmptyRefError(r.gitDir, ref)
		r.out.Line("warning: %s: %v; %s", r.name, err, fault.RemedyOf(err))
	}
	for _, name := range found.Files {
		if err := os.RemoveAll(filepath.Join(r.gitDir, name)); err != nil {
			r.note(fmt.Errorf("remove stale %s: %w", name, err))
			continue
		}
		r.out.Line("%s: removed %s, which a dead push left", r.name, name)
	}
	return nil
}

// reconciler works through what pushes that were broken off left in one repository.
type reconciler struct {
	engine    *Engine
	name      string // of the repository
	gitDir    string
	wanted    func(target.Target) bool   // whose intents are published; others stay while their ref is at what they have
	failed    func(target.Target, error) // is told of each deploy that could not be published; may be nil
	out       *output.Output
	cost      *cost
	published []string // "/refship/config 7"
	err       error
	givenUp   error                     // what was dropped undeployed while its ref had it
	settled   map[record.Namespace]bool // chains that an intent was about; false: it was not published
}

func (e *Engine) reconciler(name, gitDir string, out *output.Output) *reconciler {
	return &reconciler{
		engine: e, name: name, gitDir: gitDir, out: out, cost: new(cost),
		wanted: func(target.Target) bool { return true }, settled: make(map[record.Namespace]bool),
	}
}

func (r *reconciler) note(err error) {
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("reconcile %s: %w", r.name, err))
	}
}

// isSettled tells whether an intent was about a target.
func (r *reconciler) isSettled(t target.Target) bool {
	_, settled := r.settled[t.Namespace]
	return settled
}

// compare reports refs that are not what their chain has. A ref that a running push has moved is about to be deployed.
func (r *reconciler) compare(ctx context.Context) error {
	all, err := r.unequal(ctx)
	if err != nil || len(all) == 0 || r.engine.isPushing(r.gitDir) {
		return err
	}
	// A push may have ended between looking at the ref and at the chain: what is unequal a second time stays so.
	again, err := r.unequal(ctx)
	if err != nil {
		return err
	}
	for _, st := range again {
		switch {
		case !slices.ContainsFunc(all, func(o status.Status) bool { return o.Target == st.Target && o.Ref == st.Ref }):
		case st.Empty: // clean told it
		case st.Err != nil:
			r.note(st.Err)
		default:
			r.out.Line("%s", st.UnequalInWords(r.name, "it is not deployed by itself; deploy it with: "+
				r.engine.commands.Redeploy(r.name, st.Target)))
		}
	}
	return nil
}

// unequal are the targets whose refs are not what their chains have, but for those that an intent spoke about.
func (r *reconciler) unequal(ctx context.Context) ([]status.Status, error) {
	all, err := r.engine.Status(ctx, r.name, r.gitDir)
	return slices.DeleteFunc(all, func(st status.Status) bool {
		return st.Ref.IsZero() || st.Relation == deploy.RelationEqual || r.isSettled(st.Target)
	}), err
}
