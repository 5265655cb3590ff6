package permit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/target"
	"refship/keys"
)

// The remedies that a command of the program words.
const (
	// ReasonDeployedRef: a ref that a target deploys was to be deleted. About: repository and target.
	ReasonDeployedRef fault.Reason = "push-deletes-deployed-ref"
	// ReasonForceElsewhere: deploy.force was given to a repository of another git server.
	ReasonForceElsewhere fault.Reason = "push-force-elsewhere"
)

// Push is what a user wants to do to the refs of a repository.
type Push struct {
	Repository string // name
	GitDir     string
	Who        record.Pusher
	Key        *keys.Key // what authenticated; nil: another git server let the push in
	Updates    []git.RefUpdate
	Targets    []target.Target // of the repository, sorted by name
	Options    Options
}

// Read reads what is not there yet of ref updates, push options and targets: from the variables and the standard input
// that git hands to pre-receive, and from the repository.
func (p *Push) Read(vars map[string]string, input []byte) (err error) {
	if p.Updates == nil {
		if p.Updates, err = git.ParseUpdates(input); err != nil {
			return err
		}
	}
	if p.Options, err = ReadOptions(vars); err != nil {
		return err
	}
	if p.Targets == nil {
		if p.Targets, err = target.ReadTargets(p.GitDir); err != nil {
			return fmt.Errorf("read targets of repository %s: %w", p.Repository, err)
		}
	}
	return nil
}

// TargetsOf gives the targets that deploy a ref.
func (p *Push) TargetsOf(ref string) []target.Target { return target.OfRef(p.Targets, ref) }

// Check asks for each ref update by itself whether the user may do it. Its error is a *fault.Refusals, or one of git's.
func (p *Push) Check(ctx context.Context) error {
	if err := p.authorise(); err != nil {
		return err
	}
	return p.checkSymbolic(ctx)
}

func (p *Push) authorise() error {
	var refused fault.Refusals
	for _, u := range p.Updates {
		err := p.authoriseUpdate(u)
		if err == nil && len(p.TargetsOf(u.Ref)) == 0 {
			err = p.checkStored(u)
		}
		refused.Add(err)
	}
	return refused.Err()
}

// authoriseUpdate asks the rules of the key that authenticated. A push without a key was let in by another git server,
// which knows none of refship's rules: each of its pushers may deploy, and none may force.
func (p *Push) authoriseUpdate(u git.RefUpdate) error {
	targets := p.TargetsOf(u.Ref)
	may := func(action keys.Action) bool { return p.Key == nil || p.Key.May(action, p.Repository) }
	switch {
	case !may(keys.Push):
		return fault.Refuse("the rule push:"+p.Repository+" would allow it",
			"%s may not push to %s", p.Who.Name, p.Repository)
	case len(targets) == 0:
		return nil
	case !may(keys.Deploy):
		return fault.Refuse("push to another branch; the rule deploy:"+p.Repository+" would allow it",
			"%s may push to %s but not deploy, and %s is deployed", p.Who.Name, p.Repository, u.Ref)
	case p.Options.Force && p.Key == nil:
		err := fault.Refuse("the git server's operator can force it",
			"deploy.force is not for pushes to %s: its git server does not say who may", p.Repository)
		err.Reason = ReasonForceElsewhere
		return err
	case p.Options.Force && !may(keys.Force):
		return fault.Refuse("push without deploy.force; the rule force:"+p.Repository+" would allow it",
			"%s may deploy %s of %s but not force it", p.Who.Name, u.Ref, p.Repository)
	case u.Deletes():
		name := targets[0].Name
		err := fault.Refuse("to deploy it no more, the server's operator removes the target",
			"%s of %s is deployed by %s and cannot be deleted", u.Ref, p.Repository, target.Names(targets))
		if err.Reason, err.About = ReasonDeployedRef, []string{p.Repository, name}; p.Key == nil {
			err.Reason, err.About = "", nil
			err.Remedy = "to deploy it no more, the git server's operator removes refship." + name +
				" from the repository's git config"
		}
		return err
	}
	return nil
}

// finalRefs gives the ref that moves when one of refs is pushed to: all of them are in it. The targets' are among them.
func (p *Push) finalRefs(ctx context.Context, refs []string) (map[string]string, error) {
	final, err := git.FinalRefs(ctx, p.GitDir, refs)
	if err != nil {
		return nil, err
	}
	isMissing := func(t target.Target) bool { return final[t.Ref] == "" }
	dangling := slices.ContainsFunc(p.Targets, isMissing)
	for _, ref := range refs {
		if final[ref] != "" {
			continue
		}
		// A symbolic ref that leads to no object is not listed. It matters only where a target's ref is not there, either,
		// and git tells of one at a time.
		to := ""
		if dangling {
			if to, err = git.SymbolicRef(ctx, p.GitDir, ref); err != nil {
				return nil, err
			}
		}
		final[ref] = cmp.Or(to, ref)
	}
	return final, nil
}

// checkSymbolic refuses pushes that move a target's ref by another name, or another's ref by a target's: git tells
// hooks the name that was pushed and no other.
func (p *Push) checkSymbolic(ctx context.Context) error {
	if len(p.Targets) == 0 {
		return nil
	}
	refs := target.Refs(p.Targets)
	for _, u := range p.Updates {
		refs = append(refs, u.Ref)
	}
	slices.Sort(refs)
	refs = slices.Compact(refs)
	if git.NoneIsSymbolic(p.GitDir, refs) {
		return nil
	}
	final, err := p.finalRefs(ctx, refs)
	if err != nil {
		return err
	}
	var all fault.Refusals
	for _, u := range p.Updates {
		moves := final[u.Ref]
		for _, t := range p.Targets {
			at := final[t.Ref]
			switch {
			case moves != at || u.Ref == t.Ref && at == t.Ref:
			case at != t.Ref:
				all.Add(fault.Refuse("the git server's operator makes it a branch of its own (git symbolic-ref --delete), "+
					"or lets the target deploy "+git.ShortRef(at),
					"%s of %s, which %s deploys, is a symbolic ref to %s", t.Ref, p.Repository, t.Name, at))
			default:
				all.Add(fault.Refuse("push to that by its own name: git push REMOTE BRANCH:"+git.RefArg(t.Ref),
					"%s of %s is a symbolic ref to %s, which %s deploys", u.Ref, p.Repository, t.Ref, t.Name))
			}
		}
	}
	return all.Err()
}

// checkStored refuses refs that no target deploys and that would do harm all the same.
func (p *Push) checkStored(u git.RefUpdate) error {
	// The server hides them. git tells pre-receive of all ref updates, of those too that it is going to refuse, so that a
	// push with one of them can be refused whole, as any other.
	if git.IsOwnRef(u.Ref) {
		return fault.Refuse("push again without it: name the branches that you want to push",
			"%s of %s is refship's own", u.Ref, p.Repository)
	}
	if u.Deletes() {
		return nil
	}
	// git keeps no ref below another one: a key that may push but not deploy could keep a target's ref from being made.
	for _, t := range p.Targets {
		if git.RefsClash(u.Ref, t.Ref) {
			return fault.Refuse("choose another name: git cannot have one ref below another",
				"%s of %s would be in the way of %s, which %s deploys", u.Ref, p.Repository, t.Ref, t.Name)
		}
	}
	return nil
}
