package hooks

import (
	"fmt"
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

// authorise asks for each ref update by itself whether the user may do it.
func (p *push) authorise() error {
	var refused refusals
	if p.key == nil {
		return p.authoriseStranger()
	}
	key, repository := p.key, p.repository
	for _, u := range p.updates {
		names := p.targetsOf(u.Ref)
		switch {
		case !key.May(keys.Push, repository):
			refused.add(&fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%s may not push to %s", key.Name, repository),
				Remedy: fmt.Sprintf("the rule push:%s would allow it", repository),
			})
		case len(names) == 0:
			refused.add(p.checkStored(u))
		case !key.May(keys.Deploy, repository):
			refused.add(&fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%s may push to %s but not deploy, and %s is deployed", key.Name, repository, u.Ref),
				Remedy: fmt.Sprintf("push to another branch, or be allowed to by the rule deploy:%s", repository),
			})
		case p.options.force && !key.May(keys.Force, repository):
			refused.add(&fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%s may deploy %s of %s but not force it", key.Name, u.Ref, repository),
				Remedy: fmt.Sprintf("push without deploy.force, or be allowed to by the rule force:%s", repository),
			})
		case u.Deletes():
			refused.add(&fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%s of %s is deployed by %s and cannot be deleted", u.Ref, repository, strings.Join(names, ", ")),
				Remedy: fmt.Sprintf("to deploy it no more, who runs the server takes the target away: refship repo target remove %s %s", repository, names[0]),
			})
		}
	}
	return refused.err()
}

// authoriseStranger is for the pushes that another server takes, which has let them in: who may push deploys. It has no
// notion of refship's permissions, so nobody may force.
func (p *push) authoriseStranger() error {
	var refused refusals
	for _, u := range p.updates {
		names := p.targetsOf(u.Ref)
		switch {
		case len(names) == 0:
			refused.add(p.checkStored(u))
		case p.options.force:
			refused.add(&fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("deploy.force is not for pushes to %s: its git server does not say who may", p.repository),
				Remedy: "who runs that server forces it: refship deploy --repo DIR --rev REV --force --reason TEXT",
			})
		case u.Deletes():
			refused.add(&fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%s of %s is deployed by %s and cannot be deleted", u.Ref, p.repository, strings.Join(names, ", ")),
				Remedy: fmt.Sprintf("to deploy it no more, who runs the git server takes refship.%s out of the repository's git config", names[0]),
			})
		}
	}
	return refused.err()
}

// maxSymbolic is how many symbolic refs git follows (refs.c, SYMREF_MAXDEPTH).
const maxSymbolic = 5

// finalRef is the ref that moves when one is pushed to. A symbolic ref is always a file of its own (git-symbolic-ref(1)).
func finalRef(gitDir, ref string) string {
	for range maxSymbolic {
		text, err := os.ReadFile(filepath.Join(gitDir, filepath.FromSlash(ref)))
		to, symbolic := strings.CutPrefix(string(text), "ref:")
		if err != nil || !symbolic || git.CheckRef(strings.TrimSpace(to)) != nil {
			return ref
		}
		ref = strings.TrimSpace(to)
	}
	return ref
}

// checkSymbolic refuses pushes that move a target's ref by another name, or another's ref by a target's: git tells hooks
// the name that was pushed and no other.
func (p *push) checkSymbolic() error {
	var refused refusals
	for _, u := range p.updates {
		moves := finalRef(p.gitDir, u.Ref)
		for _, t := range p.targets {
			at := finalRef(p.gitDir, t.Ref)
			switch {
			case moves != at || u.Ref == t.Ref && at == t.Ref:
			case at != t.Ref:
				refused.add(&fault.Error{
					Kind:   fault.Refused,
					What:   fmt.Sprintf("%s of %s, which %s deploys, is a symbolic ref to %s", t.Ref, p.repository, t.Name, at),
					Remedy: "who runs the git server makes it a branch of its own (git symbolic-ref --delete), or lets the target deploy " + git.ShortRef(at),
				})
			default:
				refused.add(&fault.Error{
					Kind:   fault.Refused,
					What:   fmt.Sprintf("%s of %s is a symbolic ref to %s, which %s deploys", u.Ref, p.repository, t.Ref, t.Name),
					Remedy: "push to that by its own name: git push REMOTE BRANCH:" + t.Ref,
				})
			}
		}
	}
	return refused.err()
}

// checkStored refuses refs that are no target's and would do harm all the same.
func (p *push) checkStored(u git.RefUpdate) error {
	if u.Ref == notesRef {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s of %s is refship's own", u.Ref, p.repository),
			Remedy: "push again without it: name the branches that you want to push",
		}
	}
	if u.Deletes() {
		return nil
	}
	// git keeps no ref below another one: who may push but not deploy could keep a target's ref from ever being made.
	for _, t := range p.targets {
		if strings.HasPrefix(u.Ref, t.Ref+"/") || strings.HasPrefix(t.Ref, u.Ref+"/") {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%s of %s would be in the way of %s, which %s deploys", u.Ref, p.repository, t.Ref, t.Name),
				Remedy: "choose another name: git cannot have one ref below another",
			}
		}
	}
	return nil
}
