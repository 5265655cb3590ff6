package hooks

import (
	"fmt"
	"strings"

	"refship/deploy/git"
	"refship/deploy/text"
)

// postReceive publishes what belongs to the refs that moved. It is not bound to the hook's connection: once git has moved
// a ref, its deploy is published even if nobody is left to hear of it.
func (x *Session) postReceive(req *request, out *speaker) byte {
	x.step("post-receive-start")
	moved, err := parseUpdates(req.input)
	if err != nil {
		out.line("pushed, not deployed: %v", err)
		return 1 // End looks at the refs themselves
	}
	x.sayStored(moved, out)
	if x.intent == nil {
		return 0
	}
	status := byte(0)
	say := func(line string) { out.line("%s", line) }
	for _, p := range x.plans {
		if !contains(moved, p.update) {
			x.abandon(p)
			continue
		}
		err := out.during(p.label, "publishing", func(progress func(text.Progress)) error {
			return x.finish(p, say, progress)
		})
		if err != nil {
			status = 1
		}
	}
	return status
}

// contains tells whether git moved the ref as pre-receive was told.
func contains(moved []RefUpdate, u RefUpdate) bool {
	for _, m := range moved {
		if m.Ref == u.Ref && m.New == u.New {
			return true
		}
	}
	return false
}

// sayStored names the refs that are no target's, and those that the pusher wanted stored only.
func (x *Session) sayStored(moved []RefUpdate, out *speaker) {
	var stored, deleted, skipped []string
	for _, u := range moved {
		switch {
		case len(x.targetsOf(u.Ref)) > 0 && x.options.skip:
			skipped = append(skipped, u.Ref)
		case len(x.targetsOf(u.Ref)) > 0:
		case u.Deletes():
			deleted = append(deleted, u.Ref)
		default:
			stored = append(stored, u.Ref)
		}
	}
	if len(deleted) > 0 {
		out.line("%s deleted", refsInWords(deleted))
	}
	if len(skipped) > 0 {
		x.skipped = true
		out.line("%s stored, not deployed: deploy.skip; deploy it with: ssh HOST deploy %s", refsInWords(skipped), x.push.Repository)
	}
	switch {
	case len(stored) == 0:
	case len(x.targets) == 0:
		out.line("%s stored; this repository has no target", refsInWords(stored))
	default:
		var rules []string
		for _, t := range x.targets {
			rules = append(rules, fmt.Sprintf("%s deploys %s", t.Name, t.Ref))
		}
		out.line("%s stored, not deployed: %s", refsInWords(stored), strings.Join(rules, ", "))
		x.sayFirst(stored[0], out)
	}
}

// sayFirst says how to begin, where a target's ref was never pushed: a first push often brings a branch of another name.
func (x *Session) sayFirst(stored string, out *speaker) {
	now, err := git.ReadRefs(x.publishing, x.push.Dir, refsOf(x.targets))
	if err != nil {
		return // it is a hint only
	}
	for _, t := range x.targets {
		if _, exists := now[t.Ref]; !exists {
			out.line("hint: %s does not exist yet; to deploy: git push REMOTE %s:%s", t.Ref, git.ShortRef(stored), git.ShortRef(t.Ref))
			return
		}
	}
}

func refsInWords(refs []string) string {
	if len(refs) == 1 {
		return refs[0]
	}
	return fmt.Sprintf("%d refs (%s)", len(refs), text.FirstFew(refs))
}
