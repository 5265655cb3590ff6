package rollout

import (
	"fmt"
	"strings"
	"time"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// Words say how a chain's rollout stands, and what it waits for; "" if all rings may run the head, and there is nothing
// to say of it.
func Words(state *record.State, nodes []store.Node, now time.Time) string {
	r := state.Rollout
	switch {
	case r == nil || state.Head == nil:
		return ""
	case r.Broken:
		return "the rollout cannot be read: nodes stay at what they run until the next deploy"
	case !r.IsOf(state.Head):
		return ""
	case r.ToAll():
		if r.Stopped == "" {
			return ""
		}
		return fmt.Sprintf("deploy %d is released to all rings, and was not rolled back: %s", r.ID, text.Printable(r.Stopped))
	}
	return fmt.Sprintf("deploy %d is released to %s; %s: %s", r.ID, names(r.Rings[:r.Released]),
		text.Plural(len(r.Rings)-r.Released, "ring waits", "rings wait")+" ("+names(r.Rings[r.Released:])+")",
		waits(state, nodes, now))
}

// waits says what the next ring waits for.
func waits(state *record.State, nodes []store.Node, now time.Time) string {
	r := state.Rollout
	rings := ringsOf(r, nodes)
	switch {
	case state.Hold != nil:
		return "the chain is on hold" + state.Hold.String()
	case r.Stopped != "":
		return "stopped, until somebody promotes or deploys: " + text.Printable(text.Clip(r.Stopped))
	case !areWhole(r, rings):
		return missing(r, rings)
	}
	if due := r.Whole.Add(time.Duration(r.Pause)); !r.Whole.IsZero() && now.Before(due) {
		return "until " + due.UTC().Format(time.RFC3339)
	}
	return "a server has to release it, or somebody to promote"
}

// missing says which nodes of the released rings do not run the deploy.
func missing(r *record.Rollout, rings []ring) string {
	var all []string
	for i, one := range rings[:r.Released] {
		switch name := r.Rings[i]; {
		case one.isWhole():
		case one.run < one.alive:
			all = append(all, fmt.Sprintf("%d of %s of %s run it", one.run, text.Count(one.alive, "node"), name))
		case one.alive == 0 && !one.mute && (i == r.Released-1 || r.Ran[name] == r.ID):
			all = append(all, "no node of "+name+" is alive")
		}
	}
	if len(all) == 0 {
		all = []string{"a node has not reported yet"}
	}
	return strings.Join(all, ", ")
}

func names(rings []string) string { return strings.Join(rings, ", ") }
