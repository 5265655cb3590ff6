package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// Reconcile brings one repository and its chains together again: intents whose ref is at their new oid are published, as
// their own user; the others are dropped. A ref that is ahead of its chain without an intent is reported and never deployed
// by itself. With exclusive (no push can be running) stale locks and quarantine folders of dead pushes are removed.
//
// Each line of the result is something to tell the operator, without "refship: ". The error joins what could not be
// done; everything else was done all the same.
func (s *Deployer) Reconcile(ctx context.Context, name, gitDir string, exclusive bool) ([]string, error) {
	r := s.reconciler(name, gitDir)
	if exclusive {
		r.note(r.clean())
	}
	r.note(r.intents(ctx))
	r.note(r.compare(ctx))
	return r.lines, r.err
}

type reconciler struct {
	server    *Deployer
	name      string
	gitDir    string
	wanted    func(target.Target) bool // whose intents are published; the others' stay while their ref is what they promise
	cost      *cost
	lines     []string
	published []string // "/refship/config 7"
	err       error
	settled   map[record.Namespace]bool // that an intent spoke about; false: and was not published
}

func (s *Deployer) reconciler(name, gitDir string) *reconciler {
	return &reconciler{
		server: s, name: name, gitDir: gitDir, wanted: func(target.Target) bool { return true }, cost: new(cost),
		settled: make(map[record.Namespace]bool),
	}
}

func (r *reconciler) say(format string, args ...any) {
	r.lines = append(r.lines, text.Printable(fmt.Sprintf(format, args...)))
}

func (r *reconciler) note(err error) {
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("reconcile %s: %w", r.name, err))
	}
}

// intents publishes or drops what dead pushes left.
func (r *reconciler) intents(ctx context.Context) error {
	pushes, err := intent.List(r.gitDir)
	if err != nil {
		return err
	}
	for _, push := range pushes {
		if r.server.isRunning(push) {
			continue // it settles its intent itself
		}
		in, err := intent.Read(r.gitDir, push)
		var bad *intent.Bad
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &bad):
			r.say("%s: not readable, kept as %s: %v", r.name, filepath.Base(bad.Path)+intent.BadSuffix, bad.Err)
			r.note(bad.Aside())
		case err != nil:
			r.note(err)
		default:
			r.note(r.intent(ctx, in))
		}
	}
	return nil
}

func (r *reconciler) intent(ctx context.Context, in *intent.Intent) error {
	var refs []string
	for _, w := range in.Deploys {
		refs = append(refs, w.Target.Ref)
	}
	now, err := git.ReadRefs(ctx, r.gitDir, refs)
	if err != nil {
		return err
	}
	targets, err := target.ReadTargets(r.gitDir)
	if err != nil {
		return err
	}
	for _, w := range slices.Clone(in.Deploys) {
		t := w.Target
		switch {
		case !r.server.alone && in.MayRun(now[t.Ref] == plumbing.Hash(w.Old)):
			continue
		case now[t.Ref] != plumbing.Hash(w.New):
		case !r.wanted(t):
			continue
		case !slices.Contains(targets, t):
			r.say("%s %s: %s's push was broken off, and the target %s is not any more what it was: not deployed", r.name, git.ShortRef(t.Ref), in.Pusher.Name, t.Name)
		default:
			err := r.publish(ctx, in, w)
			r.settled[t.Namespace] = err == nil
			if err != nil {
				r.note(fmt.Errorf("deploy %s of %s's push to %s: %w", plumbing.Hash(w.New), in.Pusher.Name, t.Ref, err))
				continue
			}
		}
		r.note(r.drop(in, t.Name))
	}
	return nil
}

// drop takes a target out of an intent as it stands on disk: somebody else may have worked on it, too.
func (r *reconciler) drop(in *intent.Intent, target string) error {
	fresh, err := intent.Read(r.gitDir, in.Push)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fresh.Drop(r.gitDir, target)
}

func (r *reconciler) publish(ctx context.Context, in *intent.Intent, w intent.Entry) error {
	s, t := r.server, w.Target
	job := s.job(r.name, t, plumbing.Hash(w.New), in.Pusher)
	job.Force, job.Reason = w.Forced, w.Reason
	// Without the target's check: pre-receive has promised the deploy only after it had passed, and a target whose check is
	// another one by now is not deployed at all.
	if settled, err := r.overtaken(ctx, in, w); settled || err != nil {
		return err
	}
	again := &work{
		server: s, gitDir: r.gitDir, chain: s.cfg.Store.Chain(t.Namespace), job: job, over: w.Over,
		say: func(string) {}, tell: sayPicked(job, func(line string) { r.say("%s %s: %s", r.name, git.ShortRef(t.Ref), line) }),
		progress: func(text.Progress) {}, cost: r.cost,
	}
	d, v, err := again.do(ctx)
	if err != nil {
		return err
	}
	what := "deployed what a push had left behind"
	switch {
	case v.Already:
		what = "a push was broken off after its deploy"
	case v.Same:
		what = "a push was broken off that changed nothing below " + t.Path
	default:
		r.published = append(r.published, fmt.Sprintf("%s %d", t.Namespace, d.ID))
		for _, warning := range warnings(v, job, false) {
			r.say("%s %s: %s", r.name, git.ShortRef(t.Ref), warning)
		}
	}
	r.say("%s %s: %s: %s is deploy %d of %s, by %s", r.name, git.ShortRef(t.Ref), what, d.Hash.Short(), d.ID, t.Namespace, in.Pusher.Name)
	s.cfg.Log.InfoContext(ctx, "reconcile", "repository", r.name, "user", in.Pusher.Name, "key", in.Pusher.Key, "push", in.Push,
		"ref", t.Ref, "to", d.Hash, "namespace", t.Namespace, "deploy", d.ID, "already", v.Idle(), "forced", w.Forced, "reason", cut(w.Reason, maxLoggedValue))
	return nil
}

// overtaken tells whether the chain has made an intent out of date since it was written: it has had the commit already, or
// somebody has forced another. A rollback that is undone is told, as with any push.
func (r *reconciler) overtaken(ctx context.Context, in *intent.Intent, w intent.Entry) (bool, error) {
	t, hash := w.Target, record.Hash(plumbing.Hash(w.New).String())
	chain := r.server.cfg.Store.Chain(t.Namespace)
	head, err := chain.Head(ctx)
	if err != nil || head == nil || head.ID <= w.Head {
		return false, err
	}
	var itself, forced *record.Deploy
	err = chain.Log(ctx, int(head.ID-w.Head), func(d *record.Deploy) error {
		switch {
		case d.Hash == hash:
			itself = d
		case d.Record != nil && d.Record.Forced && d.Record.Kind != record.KindRollback:
			forced = d
		}
		return nil
	})
	switch {
	case err != nil:
	case itself != nil:
		r.say("%s %s: a push was broken off after its deploy: %s is deploy %d of %s, by %s", r.name, git.ShortRef(t.Ref), hash.Short(), itself.ID, t.Namespace, in.Pusher.Name)
	case forced != nil:
		r.say("%s %s: %s's push of %s was broken off, and %s has forced deploy %d since: not deployed; to deploy it: %s",
			r.name, git.ShortRef(t.Ref), in.Pusher.Name, hash.Short(), forced.By(), forced.ID, r.server.redeploy(r.name, t))
	}
	return itself != nil || forced != nil, err
}

// spokeOf tells whether an intent was about a target.
func (r *reconciler) spokeOf(t target.Target) bool {
	_, spoke := r.settled[t.Namespace]
	return spoke
}

// dropSuperseded drops the intents of dead pushes whose refs a push has moved on since: if a ref came back to what one of
// them promised, that promise would not count any more.
func (s *Deployer) dropSuperseded(ctx context.Context, p Push) {
	r := s.reconciler(p.Repository, p.Dir)
	r.wanted = func(target.Target) bool { return false }
	r.note(r.intents(ctx))
	for _, line := range r.lines {
		s.cfg.Log.WarnContext(ctx, "drop superseded intents", "repository", p.Repository, "line", line)
	}
	if r.err != nil {
		s.cfg.Log.WarnContext(ctx, "drop superseded intents", "repository", p.Repository, "error", r.err)
	}
}

// compare reports refs that are not what their chain has. A ref that a running push has moved is about to be deployed.
func (r *reconciler) compare(ctx context.Context) error {
	all, err := r.unequal(ctx)
	if err != nil || len(all) == 0 || r.server.isPushing(r.gitDir) {
		return err
	}
	// A push may have ended between looking at the ref and at the chain: what stands unequal a second time does so.
	again, err := r.unequal(ctx)
	if err != nil {
		return err
	}
	for _, st := range again {
		t, ref := st.Target, record.Hash(st.Ref.String())
		switch {
		case !slices.ContainsFunc(all, func(o TargetStatus) bool { return o.Target == t && o.Ref == st.Ref }):
		case st.Err != nil:
			r.note(st.Err)
		case st.State.Head == nil:
			r.say("%s of %s is at %s, %s has no deploy: not deployed by itself; ssh HOST deploy %s", t.Ref, r.name, ref.Short(), t.Namespace, r.name)
		default:
			r.say("%s of %s is at %s, %s is at deploy %d %s: not deployed by itself; ssh HOST deploy %s",
				t.Ref, r.name, ref.Short(), t.Namespace, st.State.Head.ID, st.State.Head.Hash.Short(), r.name)
		}
	}
	return nil
}

// unequal are the targets whose refs are not what their chains have, but for those that an intent spoke about.
func (r *reconciler) unequal(ctx context.Context) ([]TargetStatus, error) {
	all, err := r.server.Status(ctx, r.name, r.gitDir)
	return slices.DeleteFunc(all, func(st TargetStatus) bool {
		return st.Ref.IsZero() || st.Standing == deploy.RelationEqual || r.spokeOf(st.Target)
	}), err
}

// clean removes what git processes that died leave behind and later ones trip over: lock files of refs, HEAD, packed-refs,
// shallow and config (git's lockfile API names each <file>.lock), quarantine folders, and half-written intents.
func (r *reconciler) clean() error {
	var stale []string
	for _, name := range []string{"HEAD.lock", "packed-refs.lock", "packed-refs.new", "shallow.lock"} {
		if _, err := os.Lstat(filepath.Join(r.gitDir, name)); err == nil {
			stale = append(stale, name)
		}
	}
	for _, name := range []string{"config.lock", target.ConfigEdit, target.ConfigEdit + ".lock"} {
		// Targets may be changed while no server runs: what is young may be in use.
		if info, err := os.Lstat(filepath.Join(r.gitDir, name)); err == nil && time.Since(info.ModTime()) > target.MaxConfigEdit {
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
	intents, err := os.ReadDir(intent.Dir(r.gitDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for stale intents: %w", err)
	}
	for _, e := range intents {
		if disk.IsTemporary(e.Name()) {
			stale = append(stale, filepath.Join("refship", "pending", e.Name()))
		}
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
