package hooks

import (
	"context"

	"refship/deploy/git"
)

// keepReplaced keeps what a server's repository deploys now and the push leads away from: a forced push, and one that is
// only stored. Another git server's repositories are its own business. A push that is refused after all leaves a ref
// that does no harm.
func (p *push) keepReplaced(ctx context.Context, quarantine []string) error {
	if !p.engine.alone {
		return nil
	}
	for _, u := range p.Updates {
		if len(p.TargetsOf(u.Ref)) == 0 || u.Old.IsZero() || p.isKnownToContain(u) {
			continue
		}
		contained, err := git.IsAncestor(ctx, p.GitDir, quarantine, u.Old, u.New)
		if err != nil {
			return err
		}
		if contained {
			continue
		}
		if err := git.KeepReplaced(ctx, p.GitDir, u.Old); err != nil {
			return err
		}
		p.step("replaced-kept")
	}
	return nil
}

// isKnownToContain tells whether a verdict has found that the update's new commit contains the old one, which spares
// asking git again.
func (p *push) isKnownToContain(u git.RefUpdate) bool {
	for _, d := range p.run.deliveries {
		if v := d.verdict; d.target.Ref == u.Ref && v != nil && v.Forced == nil && v.Head != nil &&
			string(v.Head.Hash) == u.Old.String() {
			return true
		}
	}
	return false
}
