package repos

import (
	"context"
	"fmt"

	"refship/deploy/fault"
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
// What the old target has deployed stays in etcd.
func (r Dir) SetTarget(ctx context.Context, name string, t target.Target) error {
	return r.change(ctx, name, func(dir string) error {
		if err := r.checkNamespaces(name, []target.Target{t}, t.Name); err != nil {
			return err
		}
		return target.SetTarget(ctx, dir, t)
	})
}

// RemoveTarget takes a target away; its chain stays in etcd. Errors: ErrUnknown, or that there is no such target.
func (r Dir) RemoveTarget(ctx context.Context, name, one string) error {
	return r.change(ctx, name, func(dir string) error { return target.RemoveTarget(ctx, dir, one) })
}

// change lets edit change a repository's targets. Changes of all repositories' targets take turns.
func (r Dir) change(ctx context.Context, name string, edit func(dir string) error) error {
	dir, err := r.Locate(name)
	if err != nil {
		return err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
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

// mgmtNamespace is the only one that mgmt reads.
const mgmtNamespace = "/_mgmt"

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
	if t.Namespace == mgmtNamespace && other.target.Namespace == mgmtNamespace {
		err.Remedy = "a cluster of mgmt has one chain: deploy all of it from one repository, " +
			"or run another server beside the other cluster's etcd"
	} else {
		err.Reason, err.About = ReasonOverlap, []string{other.repository, other.target.Name}
	}
	return err
}
