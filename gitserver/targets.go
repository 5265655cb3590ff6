package gitserver

import (
	"context"
	"fmt"

	"refship/hooks/target"
)

// AddTarget gives a repository one more target. Errors: *NameError, *UnknownRepoError, *OverlapError if its namespace
// overlaps that of any other target of any repository; what target.Target.Validate says of it; that its name is taken.
func (r Repos) AddTarget(ctx context.Context, name string, t target.Target) error {
	return r.change(ctx, name, func(dir string) error {
		if err := r.checkNamespaces(ctx, name, []target.Target{t}, ""); err != nil {
			return err
		}
		return target.AddTarget(ctx, dir, t)
	})
}

// SetTarget replaces the target of the same name. Errors as of AddTarget, or that there is none of this name. What the old
// target has deployed stays in etcd.
func (r Repos) SetTarget(ctx context.Context, name string, t target.Target) error {
	return r.change(ctx, name, func(dir string) error {
		if err := r.checkNamespaces(ctx, name, []target.Target{t}, t.Name); err != nil {
			return err
		}
		return target.SetTarget(ctx, dir, t)
	})
}

// RemoveTarget takes a target away; its chain stays in etcd. Errors: *NameError, *UnknownRepoError, or that there is none
// of this name.
func (r Repos) RemoveTarget(ctx context.Context, name, one string) error {
	return r.change(ctx, name, func(dir string) error { return target.RemoveTarget(ctx, dir, one) })
}

// change lets edit change a repository's targets while nobody else changes any.
func (r Repos) change(ctx context.Context, name string, edit func(dir string) error) error {
	dir, err := r.locate(name)
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

// checkNamespaces refuses targets for the repository name whose namespaces overlap with each other, or with those of any
// target there is. The target called replaced goes away and does not count; "" is none. The caller holds the lock.
func (r Repos) checkNamespaces(ctx context.Context, name string, targets []target.Target, replaced string) error {
	others, err := r.List(ctx)
	if err != nil {
		return fmt.Errorf("check namespaces: %w", err)
	}
	type owner struct {
		repository string
		target     target.Target
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
				return &OverlapError{
					Namespace: string(t.Namespace), Other: string(o.target.Namespace),
					OtherRepository: o.repository, OtherTarget: o.target.Name,
				}
			}
		}
		taken = append(taken, owner{name, t})
	}
	return nil
}
