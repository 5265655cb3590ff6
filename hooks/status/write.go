package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"refship/deploy"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// Write reads and prints a repository's status for people. The error tells of its empty refs, too.
func (r *Reader) Write(ctx context.Context, w io.Writer, name, gitDir string) error {
	all, err := r.Read(ctx, name, gitDir)
	if err != nil {
		return err
	}
	empty, err := EmptyRefs(gitDir, func(ref string) bool {
		return slices.ContainsFunc(all, func(st Status) bool { return st.Target.Ref == ref })
	})
	return errors.Join(Write(w, name, all), errors.Join(empty...), err)
}

// Write prints a repository's status for people, a few lines a target. That a ref and its chain are not equal is no
// error: errors say what could not be read, or that w does not take it.
func Write(w io.Writer, name string, all []Status) error {
	var words bytes.Buffer
	if len(all) == 0 {
		words.WriteString(target.NoneIn(name) + "\n")
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
	switch {
	case st.Empty:
		ref = "is an empty file"
	case !st.Ref.IsZero():
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
	if st.Undone != nil {
		add("undone", st.UndoneInWords(now))
	}
	for _, odd := range st.Odd(now) {
		add("odd", odd)
	}
	if st.Pending {
		add("push", "a push that was broken off waits to be deployed")
	}
	add("hint", st.remedy())
	return lines
}

// Odd says what is odd about the chain though it goes on, for the operator.
func (st Status) Odd(now time.Time) []string {
	if st.State == nil {
		return nil
	}
	var newest *record.Record
	if st.State.Head != nil {
		newest = st.State.Head.Record
	}
	return st.State.Warnings(st.Target.Namespace, newest, now)
}

func headInWords(d *record.Deploy, now time.Time) string {
	if d == nil {
		return record.NoDeploy
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

// UndoneInWords says who took back what the ref still has, when and why: "rolled back from 9 to 7 by ops, 10 minutes
// ago: login is broken". Only with Undone.
func (st Status) UndoneInWords(now time.Time) string {
	d := st.Undone
	how := fmt.Sprintf("forced over with deploy %d", d.ID)
	if to, _ := record.ParseRollback(d.Record); to != 0 {
		how = fmt.Sprintf("rolled back from %d to %d", d.ID-1, to)
	}
	return fmt.Sprintf("%s by %s, %s: %s", how, d.By(), text.Age(now.Sub(d.Record.Time)),
		record.Shorten(d.Record.Reason))
}

// UnequalInWords says that a ref is not what its chain has, and what to do: remedy, unless what the ref has was undone.
func (st Status) UnequalInWords(repository, remedy string) string {
	t, at := st.Target, record.CommitHash(st.Ref).Short()
	remedy = st.unlessUndone(remedy)
	if head := st.State.Head; head != nil {
		return fmt.Sprintf("%s of %s is at %s, and %s is at deploy %d, %s: %s", t.Ref, repository, at, t.Namespace,
			head.ID, head.ShortHash(), remedy)
	}
	return fmt.Sprintf("%s of %s is at %s, and %s: %s", t.Ref, repository, at, t.Namespace.Undeployed(), remedy)
}

// waitingInWords warns that what an earlier push left is still not deployed, and says what to do, as UnequalInWords
// does.
func (st Status) waitingInWords(remedy string) string {
	return fmt.Sprintf("warning: %s is still not deployed: %s", git.ShortRef(st.Target.Ref), st.unlessUndone(remedy))
}

func (st Status) unlessUndone(remedy string) string {
	if st.Undone != nil {
		return st.UndoneInWords(time.Now())
	}
	return remedy
}

// Uncompared tells whether all that is known to be equal is the commit: mgmt itself has deployed it, and no record says
// how. A deploy compares the files and settings.
func (st Status) Uncompared() bool {
	return st.Err == nil && st.Relation == deploy.RelationEqual && st.State.Head.Record == nil
}

// inWords is the relation of the ref and its chain.
func (st Status) inWords() string {
	switch {
	case st.Err != nil:
		return "unknown"
	case st.Ref.IsZero():
		return "the ref does not exist"
	case st.Relation == deploy.RelationEmpty:
		return record.NoDeploy
	case st.Relation == deploy.RelationAhead && st.Ahead > 0:
		return "ahead by " + record.CountCommits(st.Ahead)
	case st.Uncompared():
		return "not known: mgmt itself has deployed this commit, and its files and settings are not compared"
	case st.Relation == deploy.RelationUnknown:
		return "unknown: this repository does not have the commit that is deployed"
	}
	return string(st.Relation)
}

// remedy says how ref and chain come together; "" if they are.
func (st Status) remedy() string {
	t := st.Target
	switch {
	case st.Uncompared() && st.State.Hold == nil:
		return "compare them, and deploy what differs, with: " + st.command
	case st.Err != nil || st.Relation == deploy.RelationEqual:
		return ""
	case st.Ref.IsZero():
		return "push it: git push REMOTE BRANCH:" + text.Quote(t.Ref)
	case st.State.Hold != nil:
		return "nothing is deployed while the chain is held"
	case st.Undone != nil:
		return fmt.Sprintf("correct it with a commit on top, and push that with: git push -o deploy.again=%d",
			st.State.Head.ID)
	case st.Relation == deploy.RelationEmpty || st.Relation == deploy.RelationAhead:
		return "deploy it with: " + st.command
	case st.Relation == deploy.RelationBehind:
		return fmt.Sprintf("bring the ref to what is deployed: git push REMOTE %s:%s", st.State.Head.Hash, text.Quote(t.Ref))
	}
	if st.Relation == deploy.RelationUnknown {
		return "fetch it from where it was deployed" + origin(st.State.Head.Record) + ", and push it here"
	}
	head := st.State.Head.Hash
	if head == "" || head.IsTree() { // no commit can contain that
		return st.override
	}
	return fmt.Sprintf("merge %s or rebase onto it, and push; or %s", head.Short(), st.override)
}

// origin names where a deploy came from; "" if nothing says so.
func origin(r *record.Record) string {
	if r == nil || r.Repository == "" || r.Server == "" {
		return ""
	}
	return text.Printable(fmt.Sprintf(" (repository %s on %s)", r.Repository, r.Server))
}

// WriteLog prints the chain of one target (by its name; "" if there is but one) as refship log does, at most limit
// deploys (0: all). It returns what is odd about the chain though it goes on.
func WriteLog(ctx context.Context, w io.Writer, store *deploy.Store, name, gitDir, only string, limit int) (
	odd []string, err error) {
	targets, err := target.ReadTargets(gitDir)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 && only == "" {
		_, err := fmt.Fprintln(w, target.NoneIn(name))
		return nil, err
	}
	t, err := target.ChooseOne(name, targets, only)
	if err != nil {
		return nil, err
	}
	trust, err := store.Signers()
	if err != nil {
		return nil, err
	}
	chain, table := store.Chain(t.Namespace), record.NewTable(w, time.Now(), trust)
	empty, err := table.End(chain.Story(ctx, limit, table.Add, table.AddEvent))
	if state, err := chain.State(ctx); err == nil {
		odd = Status{Target: t, State: state}.Odd(time.Now())
	}
	if !empty || err != nil {
		return odd, err
	}
	_, err = fmt.Fprintln(w, chain.Namespace().Undeployed())
	return odd, err
}
