package status

import (
	"context"
	"slices"

	"refship/deploy"
	"refship/deploy/record"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// Waiting says what pushes that were broken off left undeployed that the refs still have, and how to deploy it: with
// the command that redeploy gives. told are the refs of which the user has heard already.
func (r *Reader) Waiting(ctx context.Context, name, gitDir string, told map[string]error,
	redeploy func(repository string, t target.Target) string) ([]string, error) {
	waiting, err := intent.List(gitDir)
	if err != nil || !slices.ContainsFunc(waiting, func(push string) bool { return !r.IsRunning(push) }) {
		return nil, err
	}
	all, err := r.Read(ctx, name, gitDir)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, st := range all {
		if st.Pending && (st.Relation != deploy.RelationEqual || st.Uncompared()) && told[st.Target.Ref] == nil {
			lines = append(lines, st.waitingInWords("deploy it with: "+redeploy(name, st.Target)))
		}
	}
	return lines, nil
}

// Since finds what came into a chain after the deploy head and makes a promise to deploy hash out of date: a deploy of
// hash itself, and the first one that was forced or rolled back. nil: there is none.
func Since(ctx context.Context, chain *deploy.Chain, head record.ID, hash record.Hash) (
	itself, decided *record.Deploy, err error,
) {
	state, err := chain.State(ctx)
	if err != nil || state.Head == nil || state.Head.ID <= head {
		return nil, nil, err
	}
	err = chain.Log(ctx, int(state.Head.ID-head), func(d *record.Deploy) error { // the newest first
		switch {
		case d.Damage == nil && d.Hash == hash:
			itself = d
		case d.Record != nil && (d.Record.Forced || d.Record.Kind == record.KindRollback):
			decided = d
		}
		return nil
	})
	return itself, decided, err
}
