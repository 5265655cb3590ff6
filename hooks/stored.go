package hooks

import (
	"fmt"
	"strings"

	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/output"
	"refship/hooks/target"
)

// countRefs names one ref, or counts several.
func countRefs(refs []string) string {
	if len(refs) == 1 {
		return refs[0]
	}
	return fmt.Sprintf("%d refs (%s)", len(refs), text.FirstFew(refs))
}

// tellStored names the refs that no target deploys, and those that the pusher wanted stored only.
func (p *push) tellStored(moved []git.RefUpdate, out *output.Output) {
	var stored, deleted, skipped []string
	var redeploy string
	for _, u := range moved {
		switch {
		case len(p.TargetsOf(u.Ref)) > 0 && p.Options.Skip:
			skipped, redeploy = append(skipped, u.Ref), p.engine.redeploy(p.Repository, p.TargetsOf(u.Ref)[0])
		case len(p.TargetsOf(u.Ref)) > 0:
		case u.Deletes():
			deleted = append(deleted, u.Ref)
		default:
			stored = append(stored, u.Ref)
		}
	}
	if len(deleted) > 0 {
		out.Line("%s deleted", countRefs(deleted))
	}
	if len(skipped) > 0 {
		p.skipped = true
		out.Line("%s", skippedWords(countRefs(skipped), redeploy))
	}
	if len(stored) > 0 {
		out.Line("%s", p.whyStored(stored))
		p.tellFirst(stored[0], out)
	}
}

// skippedWords say that refs were stored only, as asked for. It is the one place that does.
func skippedWords(refs, redeploy string) string {
	return refs + " stored, not deployed: deploy.skip; " + deployWith(redeploy)
}

// deployWith says to run a command. One of the program itself is for the machine of the repository: a pusher is
// elsewhere.
func deployWith(command string) string {
	if strings.HasPrefix(command, "refship ") {
		return "deploy it on the git server with: " + command
	}
	return "deploy it with: " + command
}

// MovedWords are what to do about a ref that has moved and was not deployed. It is the one place that says so.
func MovedWords(redeploy string) string { return "the ref has moved; " + deployWith(redeploy) }

// whyStored says why refs were not deployed.
func (p *push) whyStored(stored []string) string {
	if len(p.Targets) == 0 {
		return countRefs(stored) + " stored; " + target.NoneIn(p.Repository)
	}
	var rules []string
	for _, t := range p.Targets {
		rules = append(rules, fmt.Sprintf("%s deploys %s", t.Name, t.Ref))
	}
	return fmt.Sprintf("%s stored, not deployed: %s", countRefs(stored), strings.Join(rules, ", "))
}

// tellFirst says how to begin, where a target's ref was never pushed: a first push often brings a branch of another
// name.
func (p *push) tellFirst(stored string, out *output.Output) {
	now, err := git.ReadRefs(p.publishing, p.GitDir, target.Refs(p.Targets))
	if err != nil {
		return // it is a hint only
	}
	for _, t := range p.Targets {
		if _, exists := now[t.Ref]; !exists {
			out.Line("hint: %s does not exist yet; to deploy: git push REMOTE %s:%s", t.Ref, git.RefArg(stored),
				git.RefArg(t.Ref))
			return
		}
	}
}
