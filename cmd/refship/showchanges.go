package main

import (
	"context"
	"fmt"
	"io"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// changedJSON is how many files differ from the deploy before, for programs.
type changedJSON struct {
	Since    record.ID `json:"since"` // the deploy before; 0: this is the first, and all of it is added
	Added    int       `json:"added"`
	Modified int       `json:"modified"`
	Retyped  int       `json:"retyped"` // of another kind: file, link, submodule
	Deleted  int       `json:"deleted"`
}

func newChangedJSON(since record.ID, counts map[string]int) *changedJSON {
	return &changedJSON{since, counts["A"], counts["M"], counts["T"], counts["D"]}
}

// showChanged writes which files a deploy changed, and gives how many; nil if that is not known, which is said. Of the
// first deploy, whose files are all new, none is named.
func showChanged(
	ctx context.Context, a *app, chain *store.Chain, d *record.Deploy, out io.Writer,
) (*changedJSON, error) {
	if d.ID == 1 {
		_, err := fmt.Fprintf(out, "\nchanged: all, it is the first deploy\n")
		return &changedJSON{Added: d.Record.Files}, err
	}
	before, err := chain.Get(ctx, d.ID-1)
	switch {
	case fault.Is(err, fault.Corrupt), record.IsNewer(err):
		a.warn(fmt.Errorf("what deploy %d changed is not known: %w", d.ID, err))
		return nil, nil
	case err != nil:
		return nil, err
	case before.Record == nil:
		a.say("deploy %d is foreign: to compare all files with it: refship diff %d %d", before.ID, before.ID, d.ID)
		return nil, nil
	}
	counts, head := map[string]int{}, fmt.Sprintf("\nchanged since deploy %d:", before.ID)
	err = chain.Diff(ctx, before, d, func(change store.Change) error {
		if len(counts) == 0 {
			if _, err := fmt.Fprintln(out, head); err != nil {
				return err
			}
		}
		counts[change.Status()]++
		return writeChange(out, change.Status(), change.Path)
	})
	if reason, _ := fault.ReasonOf(err); reason == store.ReasonExpired {
		a.warn(fmt.Errorf("what deploy %d changed is not known: %w", d.ID, err))
		return nil, nil
	}
	if err == nil && len(counts) == 0 {
		_, err = fmt.Fprintln(out, head, "no file")
	}
	if err != nil {
		return nil, err
	}
	return newChangedJSON(before.ID, counts), nil
}
