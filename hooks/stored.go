package hooks

import (
	"fmt"
	"strings"

	"refship/deploy/git"
	"refship/deploy/text"
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
func (p *push) tellStored(moved []git.RefUpdate, out *output) {
	var stored, deleted, skipped []string
	for _, u := range moved {
		switch {
		case len(p.targetsOf(u.Ref)) > 0 && p.options.skip:
			skipped = append(skipped, u.Ref)
		case len(p.targetsOf(u.Ref)) > 0:
		case u.Deletes():
			deleted = append(deleted, u.Ref)
		default:
			stored = append(stored, u.Ref)
		}
	}
	if len(deleted) > 0 {
		out.line("%s deleted", countRefs(deleted))
	}
	if len(skipped) > 0 {
		p.skipped = true
		out.line("%s stored, not deployed: deploy.skip; deploy it with: ssh HOST deploy %s", countRefs(skipped),
			p.repository)
	}
	if len(stored) > 0 {
		out.line("%s", p.whyStored(stored))
		p.tellFirst(stored[0], out)
	}
}

// whyStored says why refs were not deployed.
func (p *push) whyStored(stored []string) string {
	if len(p.targets) == 0 {
		return countRefs(stored) + " stored; this repository has no target"
	}
	var rules []string
	for _, t := range p.targets {
		rules = append(rules, fmt.Sprintf("%s deploys %s", t.Name, t.Ref))
	}
	return fmt.Sprintf("%s stored, not deployed: %s", countRefs(stored), strings.Join(rules, ", "))
}

// tellFirst says how to begin, where a target's ref was never pushed: a first push often brings a branch of another
// name.
func (p *push) tellFirst(stored string, out *output) {
	now, err := git.ReadRefs(p.publishing, p.gitDir, target.Refs(p.targets))
	if err != nil {
		return // it is a hint only
	}
	for _, t := range p.targets {
		if _, exists := now[t.Ref]; !exists {
			out.line("hint: %s does not exist yet; to deploy: git push REMOTE %s:%s", t.Ref, git.ShortRef(stored),
				git.ShortRef(t.Ref))
			return
		}
	}
}
