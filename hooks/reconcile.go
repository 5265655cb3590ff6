package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
)

// Reconcile brings one repository and its chains together again: intents whose ref is at their new oid are published, as
// their own user; the others are dropped. A ref that is ahead of its chain without an intent is reported and never deployed
// by itself. With exclusive (no push can be running) stale locks and quarantine folders of dead pushes are removed.
//
// Each line of the result is something to tell the operator, without "refship: ". The error joins what could not be
// done; everything else was done all the same.
func (s *Server) Reconcile(ctx context.Context, name, gitDir string, exclusive bool) ([]string, error) {
	r := &reconciler{server: s, name: name, gitDir: gitDir, settled: make(map[string]bool)}
	if exclusive {
		r.note(r.clean())
	}
	r.note(r.intents(ctx))
	r.note(r.compare(ctx))
	return r.lines, r.err
}

type reconciler struct {
	server  *Server
	name    string
	gitDir  string
	lines   []string
	err     error
	settled map[string]bool // namespaces that an intent spoke about
}

func (r *reconciler) say(format string, args ...any) {
	r.lines = append(r.lines, deploy.Printable(fmt.Sprintf(format, args...)))
}

func (r *reconciler) note(err error) {
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("reconcile %s: %w", r.name, err))
	}
}

// intents publishes or drops what dead pushes left.
func (r *reconciler) intents(ctx context.Context) error {
	pushes, err := listIntents(r.gitDir)
	if err != nil {
		return err
	}
	for _, push := range pushes {
		if r.server.isRunning(push) {
			continue // it settles its intent itself
		}
		in, err := readIntent(r.gitDir, push)
		var bad *badIntent
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &bad):
			r.say("%s: not readable, kept as %s: %v", r.name, filepath.Base(bad.Path)+badSuffix, bad.Err)
			r.note(bad.aside())
		case err != nil:
			r.note(err)
		default:
			r.note(r.intent(ctx, in))
		}
	}
	return nil
}

func (r *reconciler) intent(ctx context.Context, in *intent) error {
	var refs []string
	for _, w := range in.Deploys {
		refs = append(refs, w.Target.Ref)
	}
	now, err := readRefs(ctx, r.gitDir, refs)
	if err != nil {
		return err
	}
	for _, w := range append([]wish(nil), in.Deploys...) {
		t := w.Target
		if now[t.Ref] == plumbing.Hash(w.New) {
			r.settled[string(t.Namespace)] = true
			if err := r.publish(ctx, in, w); err != nil {
				r.note(fmt.Errorf("deploy %s of %s's push to %s: %w", plumbing.Hash(w.New), in.Pusher.Name, t.Ref, err))
				continue
			}
		}
		if err := in.drop(r.gitDir, t.Name); err != nil {
			r.note(err)
		}
	}
	return nil
}

func (r *reconciler) publish(ctx context.Context, in *intent, w wish) error {
	s, t := r.server, w.Target
	job := s.job(r.name, t, plumbing.Hash(w.New), in.Pusher, w.Reason)
	who := s.holder(in.Pusher.Name, r.name, t.Ref)
	d, already, err := s.do(ctx, r.gitDir, s.cfg.Chain(t.Namespace), job, who, func(deploy.Progress) {})
	if err != nil {
		return err
	}
	what := "deployed what a push had left behind"
	if already {
		what = "a push was broken off after its deploy"
	}
	r.say("%s %s: %s: %s is deploy %d of %s, by %s", r.name, shortRef(t.Ref), what, d.Hash.Short(), d.ID, t.Namespace, in.Pusher.Name)
	s.cfg.Log.InfoContext(ctx, "reconcile", "repository", r.name, "user", in.Pusher.Name, "key", in.Pusher.Key, "push", in.Push,
		"ref", t.Ref, "to", d.Hash, "namespace", t.Namespace, "deploy", d.ID, "already", already)
	return nil
}

// compare reports refs that are not what their chain has.
func (r *reconciler) compare(ctx context.Context) error {
	targets, err := ReadTargets(ctx, r.gitDir)
	if err != nil {
		return err
	}
	var refs []string
	for _, t := range targets {
		refs = append(refs, t.Ref)
	}
	now, err := readRefs(ctx, r.gitDir, refs)
	if err != nil {
		return err
	}
	for _, t := range targets {
		at, exists := now[t.Ref]
		if !exists || r.settled[string(t.Namespace)] {
			continue
		}
		head, err := r.server.cfg.Chain(t.Namespace).Head(ctx)
		if err != nil {
			r.note(err)
			continue
		}
		ref := deploy.Hash(at.String())
		switch {
		case head == nil:
			r.say("%s of %s is at %s, %s has no deploy: not deployed by itself; ssh HOST deploy %s", t.Ref, r.name, ref.Short(), t.Namespace, r.name)
		case head.Hash != ref:
			r.say("%s of %s is at %s, %s is at deploy %d %s: not deployed by itself; ssh HOST deploy %s",
				t.Ref, r.name, ref.Short(), t.Namespace, head.ID, head.Hash.Short(), r.name)
		}
	}
	return nil
}

// clean removes what git processes that died leave behind and later ones trip over: lock files of refs, HEAD, packed-refs
// and shallow (git's lockfile API names each <file>.lock), quarantine folders, and half-written intents.
func (r *reconciler) clean() error {
	var stale []string
	for _, name := range []string{"HEAD.lock", "packed-refs.lock", "packed-refs.new", "shallow.lock"} {
		if _, err := os.Lstat(filepath.Join(r.gitDir, name)); err == nil {
			stale = append(stale, name)
		}
	}
	err := filepath.WalkDir(filepath.Join(r.gitDir, "refs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() && strings.HasSuffix(path, ".lock") { // no ref's name ends so
			relative, _ := filepath.Rel(r.gitDir, path)
			stale = append(stale, relative)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for stale locks: %w", err)
	}
	objects, err := os.ReadDir(filepath.Join(r.gitDir, "objects"))
	if err != nil {
		return fmt.Errorf("look for stale quarantines: %w", err)
	}
	for _, e := range objects {
		if e.IsDir() && isIncoming(e.Name()) {
			stale = append(stale, filepath.Join("objects", e.Name()))
		}
	}
	halves, err := filepath.Glob(filepath.Join(pendingDir(r.gitDir), "*.tmp"))
	if err != nil {
		return fmt.Errorf("look for stale intents: %w", err)
	}
	for _, path := range halves {
		relative, _ := filepath.Rel(r.gitDir, path)
		stale = append(stale, relative)
	}
	for _, name := range stale {
		if err := os.RemoveAll(filepath.Join(r.gitDir, name)); err != nil {
			r.note(fmt.Errorf("remove stale %s: %w", name, err))
			continue
		}
		r.say("%s: removed %s, which a dead push left", r.name, name)
	}
	return nil
}
