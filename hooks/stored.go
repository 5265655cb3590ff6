package hooks

import (
	"context"

	"refship/deploy/git"
	"refship/hooks/output"
	"refship/hooks/permit"
	"refship/hooks/target"
	"refship/hooks/words"
)

// tellStored names the refs that no target deploys, and those that the pusher wanted stored only: skipped says that
// there were some.
func (e *Engine) tellStored(ctx context.Context, p *permit.Push, moved []git.RefUpdate,
	out *output.Output) (skipped bool) {
	var stored, deleted, deployed []string
	redeploy := ""
	for _, u := range moved {
		targets := p.TargetsOf(u.Ref)
		switch {
		case len(targets) > 0:
			deployed, redeploy = append(deployed, u.Ref), e.commands.Redeploy(p.Repository, targets[0])
			if targets[0].RequireSignedPush {
				redeploy = "a signed push, of one more commit"
			}
		case u.Deletes():
			deleted = append(deleted, u.Ref)
		default:
			stored = append(stored, u.Ref)
		}
	}
	if len(deleted) > 0 {
		out.Line("%s deleted", words.CountRefs(deleted))
	}
	if skipped = len(deployed) > 0 && p.Options.Skip; skipped {
		out.Line("%s", words.Skipped(deployed, redeploy))
	}
	if len(stored) > 0 {
		out.Line("%s", words.Stored(p.Repository, p.Targets, stored))
		tellFirst(ctx, p, stored[0], out)
	}
	return skipped
}

// tellFirst says how to begin, where a target's ref was never pushed: a first push often brings a branch of another
// name.
func tellFirst(ctx context.Context, p *permit.Push, stored string, out *output.Output) {
	now, err := git.ReadRefs(ctx, p.GitDir, target.Refs(p.Targets))
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
