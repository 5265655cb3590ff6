package hooks

import (
	"os"
	"path/filepath"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/keys"
)

// notesRef is refship's own: the server hides it. git tells pre-receive of all ref updates, of those too that it is
// going to refuse, so that a push with this one in it can be refused whole, as any other.
const notesRef = "refs/notes/deploys"

// The remedies that a command of the program words.
const (
	// ReasonDeployedRef: a ref that a target deploys was to be deleted. About: repository and target.
	ReasonDeployedRef fault.Reason = "push-deletes-deployed-ref"
	// ReasonForceElsewhere: deploy.force was given to a repository of another git server.
	ReasonForceElsewhere fault.Reason = "push-force-elsewhere"
)

// authorise asks for each ref update by itself whether the user may do it.
func (p *push) authorise() error {
	var refused refusals
	for _, u := range p.updates {
		err := p.authoriseUpdate(u)
		if err == nil && len(p.targetsOf(u.Ref)) == 0 {
			err = p.checkStored(u)
		}
		refused.add(err)
	}
	return refused.err()
}

// authoriseUpdate asks the rules of the key that authenticated. A push without a key was let in by another git server,
// which knows none of refship's rules: each of its pushers may deploy, and none may force.
func (p *push) authoriseUpdate(u git.RefUpdate) error {
	names := p.targetsOf(u.Ref)
	may := func(action keys.Action) bool { return p.key == nil || p.key.May(action, p.repository) }
	switch {
	case !may(keys.Push):
		return fault.Refuse("the rule push:"+p.repository+" would allow it",
			"%s may not push to %s", p.who.Name, p.repository)
	case len(names) == 0:
		return nil
	case !may(keys.Deploy):
		return fault.Refuse("push to another branch; the rule deploy:"+p.repository+" would allow it",
			"%s may push to %s but not deploy, and %s is deployed", p.who.Name, p.repository, u.Ref)
	case p.options.force && p.key == nil:
		err := fault.Refuse("the git server's operator can force it",
			"deploy.force is not for pushes to %s: its git server does not say who may", p.repository)
		err.Reason = ReasonForceElsewhere
		return err
	case p.options.force && !may(keys.Force):
		return fault.Refuse("push without deploy.force; the rule force:"+p.repository+" would allow it",
			"%s may deploy %s of %s but not force it", p.who.Name, u.Ref, p.repository)
	case u.Deletes() && p.key == nil:
		return fault.Refuse("to deploy it no more, the git server's operator removes refship."+names[0]+
			" from the repository's git config",
			"%s of %s is deployed by %s and cannot be deleted", u.Ref, p.repository, strings.Join(names, ", "))
	case u.Deletes():
		err := fault.Refuse("to deploy it no more, the server's operator removes the target",
			"%s of %s is deployed by %s and cannot be deleted", u.Ref, p.repository, strings.Join(names, ", "))
		err.Reason, err.About = ReasonDeployedRef, []string{p.repository, names[0]}
		return err
	}
	return nil
}

// maxSymbolic is how many symbolic refs git follows (refs.c, SYMREF_MAXDEPTH).
const maxSymbolic = 5

// finalRef is the ref that moves when one is pushed to. A symbolic ref is always a file of its own
// (git-symbolic-ref(1)).
func finalRef(gitDir, ref string) string {
	for range maxSymbolic {
		content, err := os.ReadFile(filepath.Join(gitDir, filepath.FromSlash(ref)))
		to, symbolic := strings.CutPrefix(string(content), "ref:")
		if err != nil || !symbolic || git.CheckRef(strings.TrimSpace(to)) != nil {
			return ref
		}
		ref = strings.TrimSpace(to)
	}
	return ref
}

// checkSymbolic refuses pushes that move a target's ref by another name, or another's ref by a target's: git tells
// hooks the name that was pushed and no other.
func (p *push) checkSymbolic() error {
	var all refusals
	for _, u := range p.updates {
		moves := finalRef(p.gitDir, u.Ref)
		for _, t := range p.targets {
			at := finalRef(p.gitDir, t.Ref)
			switch {
			case moves != at || u.Ref == t.Ref && at == t.Ref:
			case at != t.Ref:
				all.add(fault.Refuse("the git server's operator makes it a branch of its own (git symbolic-ref --delete), "+
					"or lets the target deploy "+git.ShortRef(at),
					"%s of %s, which %s deploys, is a symbolic ref to %s", t.Ref, p.repository, t.Name, at))
			default:
				all.add(fault.Refuse("push to that by its own name: git push REMOTE BRANCH:"+t.Ref,
					"%s of %s is a symbolic ref to %s, which %s deploys", u.Ref, p.repository, t.Ref, t.Name))
			}
		}
	}
	return all.err()
}

// checkStored refuses refs that no target deploys and that would do harm all the same.
func (p *push) checkStored(u git.RefUpdate) error {
	if u.Ref == notesRef {
		return fault.Refuse("push again without it: name the branches that you want to push",
			"%s of %s is refship's own", u.Ref, p.repository)
	}
	if u.Deletes() {
		return nil
	}
	// git keeps no ref below another one: a key that may push but not deploy could keep a target's ref from being made.
	for _, t := range p.targets {
		if strings.HasPrefix(u.Ref, t.Ref+"/") || strings.HasPrefix(t.Ref, u.Ref+"/") {
			return fault.Refuse("choose another name: git cannot have one ref below another",
				"%s of %s would be in the way of %s, which %s deploys", u.Ref, p.repository, t.Ref, t.Name)
		}
	}
	return nil
}
