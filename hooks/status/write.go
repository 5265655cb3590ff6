package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// Write prints a repository's status for people, a few lines a target. That a ref and its chain are not equal is no
// error: errors say what could not be read, or that w does not take it.
func Write(w io.Writer, name string, all []Status) error {
	var words bytes.Buffer
	if len(all) == 0 {
		fmt.Fprintf(&words, "%s has no target\n", name)
	}
	var failed error
	for i, st := range all {
		if i > 0 {
			words.WriteByte('\n')
		}
		for _, line := range st.lines(time.Now()) {
			words.WriteString(text.Printable(line) + "\n")
		}
		if st.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("read status of %s: %w", st.Target.Name, st.Err))
		}
	}
	if _, err := w.Write(words.Bytes()); err != nil {
		return err
	}
	return failed
}

// lines are one target's status in words.
func (st Status) lines(now time.Time) []string {
	t := st.Target
	lines := []string{fmt.Sprintf("%s: %s → %s", t.Name, t.Source(), t.Namespace)}
	add := func(label, words string) {
		if words != "" {
			lines = append(lines, fmt.Sprintf("  %-6s %s", label, words))
		}
	}
	ref := "does not exist"
	if !st.Ref.IsZero() {
		ref = st.Ref.String()
	}
	add("ref", ref)
	if st.State != nil {
		add("head", headInWords(st.State.Head, now))
	}
	add("state", st.inWords())
	if st.State != nil {
		if h := st.State.Hold; h != nil {
			add("hold", "held"+h.String())
		}
		if l := st.State.Lock; l != nil {
			add("lock", "locked by "+l.String())
		}
	}
	if st.Pending {
		add("push", "a push that was broken off waits to be deployed")
	}
	add("hint", st.remedy())
	return lines
}

func headInWords(d *record.Deploy, now time.Time) string {
	if d == nil {
		return "no deploy yet"
	}
	hash, when := "without a hash", ""
	if d.Hash != "" {
		hash = string(d.Hash)
	}
	if d.Record != nil {
		when = ", " + text.Age(now.Sub(d.Record.Time))
	}
	return fmt.Sprintf("%s, deploy %d by %s%s", hash, d.ID, d.By(), when)
}

// inWords says how the ref stands.
func (st Status) inWords() string {
	switch {
	case st.Err != nil:
		return "unknown"
	case st.Ref.IsZero():
		return "the ref does not exist"
	case st.Relation == deploy.RelationEmpty:
		return "no deploy yet"
	case st.Relation == deploy.RelationAhead && st.Ahead > 0:
		return "ahead by " + text.Count(st.Ahead, "commit")
	case st.Relation == deploy.RelationUnknown:
		return "unknown: this repository does not have the commit that is deployed"
	}
	return string(st.Relation)
}

// remedy says how ref and chain come together; "" if they are.
func (st Status) remedy() string {
	t := st.Target
	switch {
	case st.Err != nil || st.Relation == deploy.RelationEqual:
		return ""
	case st.Ref.IsZero():
		return "push it: git push REMOTE BRANCH:" + t.Ref
	case st.State.Hold != nil:
		return "nothing is deployed while the chain is held"
	case st.Relation == deploy.RelationEmpty || st.Relation == deploy.RelationAhead:
		return "deploy it with: " + st.command
	case st.Relation == deploy.RelationBehind:
		return fmt.Sprintf("bring the ref to what is deployed: git push REMOTE %s:%s", st.State.Head.Hash, t.Ref)
	}
	if st.Relation == deploy.RelationUnknown {
		return "fetch it from where it was deployed" + origin(st.State.Head.Record) + ", and push it here"
	}
	head := "what is deployed"
	if h := st.State.Head.Hash; h != "" && !h.IsTree() {
		head = h.Short()
	}
	return fmt.Sprintf("merge %s or rebase onto it, and push; or %s", head, st.override)
}

// origin names where a deploy came from; "" if nothing says so.
func origin(r *record.Record) string {
	if r == nil || r.Repository == "" || r.Server == "" {
		return ""
	}
	return text.Printable(fmt.Sprintf(" (repository %s on %s)", r.Repository, r.Server))
}

// WriteLog prints the chain of one target (by its name; "" if there is but one) as refship log does, at most limit
// deploys (0: all).
func WriteLog(ctx context.Context, w io.Writer, store *deploy.Store, name, gitDir, only string, limit int) error {
	targets, err := target.ReadTargets(gitDir)
	if err != nil {
		return err
	}
	if targets, err = target.Choose(name, targets, only); err != nil {
		return err
	}
	switch {
	case len(targets) == 0:
		_, err := fmt.Fprintf(w, "%s has no target\n", name)
		return err
	case len(targets) > 1:
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s has %s, each with a log of its own", name, text.Count(len(targets), "target")),
			Remedy: fmt.Sprintf("name one: %s:TARGET, which is one of: %s", name, target.Names(targets)),
		}
	}
	chain, table := store.Chain(targets[0].Namespace), record.NewTable(w, time.Now())
	empty := true
	err = chain.Log(ctx, limit, func(d *record.Deploy) error {
		empty = false
		return table.Add(d)
	})
	if err != nil {
		return err
	}
	if empty {
		_, err := fmt.Fprintf(w, "%s has no deploys yet\n", targets[0].Namespace)
		return err
	}
	return table.Flush()
}
