package repos

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/hooks/target"
)

// AddTarget gives a repository one more target. Errors: ErrUnknown; ReasonOverlap, if its namespace overlaps that of
// any other target of any repository; what target.Target.Validate says of it; that its name is taken.
func (r Dir) AddTarget(ctx context.Context, name string, t target.Target) error {
	return r.change(ctx, name, func(dir string) error {
		if err := r.checkNamespaces(name, []target.Target{t}, ""); err != nil {
			return err
		}
		return target.AddTarget(ctx, dir, t)
	})
}

// SetTarget replaces the target of the same name. Errors are those of AddTarget, or that there is no such target.
// What the old target has deployed stays in etcd. HEAD goes to the target's new branch, unless another target
// deploys the one that it names: clones check out what is deployed, and the old branch can be deleted.
func (r Dir) SetTarget(ctx context.Context, name string, t target.Target) error {
	return r.change(ctx, name, func(dir string) error {
		if err := r.checkNamespaces(name, []target.Target{t}, t.Name); err != nil {
			return err
		}
		before, err := target.ReadTargets(dir)
		if err == nil {
			err = keepDeployed(ctx, dir, t.Name)
		}
		if err == nil {
			err = target.SetTarget(ctx, dir, t)
		}
		if err != nil {
			return err
		}
		return moveHead(ctx, dir, before, t)
	})
}

// moveHead lets HEAD follow a target that has a new ref. What no target deploys holds it nowhere: HEAD stayed behind if
// the target had a tag meanwhile.
func moveHead(ctx context.Context, dir string, before []target.Target, t target.Target) error {
	at, err := git.Head(ctx, dir)
	if err != nil || at == "" || at == t.Ref || !strings.HasPrefix(t.Ref, "refs/heads/") {
		return err
	}
	for _, was := range before {
		if was.Name == t.Name && was.Ref == t.Ref || was.Name != t.Name && was.Ref == at {
			return nil // the ref is not new, or HEAD is another target's
		}
	}
	return git.PointHead(ctx, dir, t.Ref)
}

// RemoveTarget takes a target away; its chain stays in etcd. Errors: ErrUnknown, or that there is no such target.
func (r Dir) RemoveTarget(ctx context.Context, name, one string) error {
	return r.change(ctx, name, func(dir string) error {
		if err := keepDeployed(ctx, dir, one); err != nil {
			return err
		}
		return target.RemoveTarget(ctx, dir, one)
	})
}

// keepDeployed keeps what a target that is about to change, or to go, has deployed: its ref may then move anywhere, or
// go too.
func keepDeployed(ctx context.Context, dir, name string) error {
	targets, err := target.ReadTargets(dir)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if t.Name != name {
			continue
		}
		at, err := git.ReadRef(ctx, dir, t.Ref)
		if err != nil || at.IsZero() {
			return err
		}
		return git.KeepReplaced(ctx, dir, at)
	}
	return nil // the change says that there is no such target
}

// Set lets change say what the settings of all targets of a repository shall be. Errors: ErrUnknown.
func (r Dir) Set(ctx context.Context, name string, change func(*target.Settings)) error {
	return r.change(ctx, name, func(dir string) error { return target.Set(ctx, dir, change) })
}

// SetFsck says what git makes of a flaw in what is pushed to a repository, "" for git's own: see git.CheckFsck. Errors:
// ErrUnknown, and what that refuses.
func (r Dir) SetFsck(ctx context.Context, name, id, level string) error {
	return r.change(ctx, name, func(dir string) error { return target.SetFsck(ctx, dir, id, level) })
}

// change lets edit change a repository's targets. Changes of all repositories' targets take turns.
func (r Dir) change(ctx context.Context, name string, edit func(dir string) error) error {
	if _, err := r.Locate(name); err != nil {
		return err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	dir, err := r.Locate(name) // it may have been renamed or removed meanwhile
	if err != nil {
		return err
	}
	if err := edit(dir); err != nil {
		return fmt.Errorf("repository %s: %w", name, err)
	}
	return nil
}

// owner is a target with the name of its repository.
type owner struct {
	repository string
	target     target.Target
}

// checkNamespaces refuses targets for the repository name whose namespaces overlap with each other, or with those of
// any other target. The target called replaced goes away and does not count; "" is none. The caller holds the lock.
func (r Dir) checkNamespaces(name string, targets []target.Target, replaced string) error {
	others, err := r.List()
	if err != nil {
		return fmt.Errorf("check namespaces: %w", err)
	}
	var taken []owner
	for _, repo := range others {
		for _, t := range repo.Targets {
			if repo.Name != name || t.Name != replaced {
				taken = append(taken, owner{repo.Name, t})
			}
		}
	}
	for _, t := range targets {
		if err := t.Validate(); err != nil {
			return err
		}
		for _, o := range taken {
			if t.Namespace.Overlaps(o.target.Namespace) {
				return overlapError(t, o)
			}
		}
		taken = append(taken, owner{name, t})
	}
	return nil
}

// overlapError: a new target's namespace is, contains, or lies inside that of another target.
func overlapError(t target.Target, other owner) error {
	user := fmt.Sprintf("target %s of repository %s deploys to", other.target.Name, other.repository)
	err := &fault.Error{
		Kind: fault.Failed,
		What: fmt.Sprintf("namespace %s overlaps %s, which %s", t.Namespace, other.target.Namespace, user),
	}
	if t.Namespace == other.target.Namespace {
		err.What = fmt.Sprintf("namespace %s is taken: it is what %s", t.Namespace, user)
	}
	if t.Namespace.IsMgmt() && other.target.Namespace.IsMgmt() {
		err.Remedy = "a cluster of mgmt has one chain: deploy all of it from one repository, " +
			"or run another server beside the other cluster's etcd"
	} else {
		err.Reason, err.About = ReasonOverlap, []string{other.repository, other.target.Name}
	}
	return err
}
