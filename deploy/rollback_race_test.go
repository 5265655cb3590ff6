package deploy_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// race is one chain that pushers, operators and two servers fight for. What each asked for has a reason of its own.
type race struct {
	*setup
	chains  []*deploy.Chain                       // of two servers
	commits []tree.OID                            // all of them
	below   map[tree.OID][]tree.OID               // what a commit contains, itself too
	mu      sync.Mutex                            // guards what follows
	asked   map[string]*deploy.Job                // by reason
	made    map[string]*record.Deploy             // published, by reason
	refused map[fault.Reason]int                  // how often
	moved   map[string]bool                       // reasons of rollbacks whose head has moved before they began
	undone  map[*deploy.Job]*deploy.ConflictError // pushes that would have brought something back
}

func newRace(t *testing.T) *race {
	f := newSetup(t)
	r := &race{
		setup: f, below: map[tree.OID][]tree.OID{}, asked: map[string]*deploy.Job{}, made: map[string]*record.Deploy{},
		refused: map[fault.Reason]int{}, moved: map[string]bool{}, undone: map[*deploy.Job]*deploy.ConflictError{},
	}
	add := func(name string, parents ...tree.OID) tree.OID {
		commit := f.repo.commit(name, files{"f": regular(name)}, parents...)
		r.commits, r.below[commit] = append(r.commits, commit), []tree.OID{commit}
		for _, p := range parents {
			r.below[commit] = append(r.below[commit], r.below[p]...)
		}
		return commit
	}
	at := add("first") // and again and again two that follow it, and their merge
	for i := range 10 {
		at = add(fmt.Sprint("merge ", i), add(fmt.Sprint("hotfix ", i), at), add(fmt.Sprint("next ", i), at))
	}
	f.open()
	r.chains = []*deploy.Chain{f.newStore().Chain(namespace), f.newStore().Chain(namespace)}
	f.deploy(r.commits[0])
	return r
}

func (r *race) contains(commit tree.OID, hash record.Hash) bool {
	return slices.Contains(r.below[commit], hash.OID())
}

// do publishes a job, or finds it refused.
func (r *race) do(chain *deploy.Chain, job *deploy.Job, reason string) (published bool) {
	job.Reason = reason
	d, already, err := chain.Do(r.Context(), holder, job, time.Minute, quiet)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[reason] = job
	switch because, _ := fault.ReasonOf(err); {
	case err == nil && !already:
		r.made[reason] = d
		return true
	case err == nil, errors.Is(err, deploy.ErrLockLost):
	case !fault.Is(err, fault.Conflict):
		r.Errorf("%s: %v", reason, err)
	default:
		r.refused[because]++
		var conflict *deploy.ConflictError
		if errors.As(err, &conflict) && because == deploy.ReasonUndone && job.To == nil {
			r.undone[job] = conflict
		}
	}
	return false
}

// push pushes what goes on from the head, in half of all cases as one who has seen what was undone there.
func (r *race) push(chain *deploy.Chain, rnd *rand.Rand, reason string) (published bool) {
	head, err := chain.Head(r.Context())
	if err != nil {
		r.Error(err)
		return false
	}
	var next []tree.OID
	for _, c := range r.commits {
		if record.CommitHash(c) != head.Hash && r.contains(c, head.Hash) {
			next = append(next, c)
		}
	}
	if len(next) == 0 {
		return false
	}
	job := r.job(next[rnd.IntN(min(3, len(next)))]) // a small step: the line shall last
	if rnd.IntN(2) == 0 {
		job.Again = []record.ID{head.ID}
	}
	return r.do(chain, job, reason)
}

// back goes back; in a third of all cases with a push in between, and then the head has moved.
func (r *race) back(chain *deploy.Chain, rnd *rand.Rand, reason string) {
	head, err := chain.Head(r.Context())
	if err != nil {
		r.Error(err)
		return
	}
	named := fmt.Sprint(1 + rnd.IntN(int(head.ID)))
	if rnd.IntN(2) == 0 && head.ID > 1 {
		named = "head~1"
	}
	job := r.backTo(chain, named)
	if rnd.IntN(6) == 0 {
		job.Hold = &record.Hold{User: "ops", Reason: reason}
	}
	if rnd.IntN(3) == 0 && r.push(chain, rnd, "push before "+reason) {
		r.mu.Lock()
		r.moved[reason] = true
		r.mu.Unlock()
	}
	r.do(chain, job, reason)
}

// hold holds the chain, pushes all the same, and ends that or another hold.
func (r *race) hold(chain *deploy.Chain, rnd *rand.Rand, reason string) {
	err := chain.Hold(r.Context(), &record.Hold{User: "eve", Reason: reason})
	if err != nil && !fault.Is(err, fault.Conflict) {
		r.Error(err)
	}
	r.push(chain, rnd, "push under "+reason)
	if _, err := chain.Resume(r.Context(), &record.Event{Kind: record.EventResume, User: "eve"}, true); err != nil {
		r.Error(err)
	}
}

// Rollbacks, pushes and holds race on one chain. Whatever each of them met, the history holds what the rules say.
func TestRollbacksRaced(t *testing.T) {
	t.Parallel()
	r := newRace(t)
	var all sync.WaitGroup
	for actor := range uint64(5) {
		chain, rnd := r.chains[actor%2], rand.New(rand.NewPCG(actor, 14))
		all.Go(func() {
			for i := range 12 {
				reason := fmt.Sprintf("%d of actor %d", i, actor)
				switch n := rnd.IntN(10); {
				case n < 5:
					r.push(chain, rnd, "push "+reason)
				case n < 8:
					r.back(chain, rnd, "rollback "+reason)
				default:
					r.hold(chain, rnd, "hold "+reason)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d asked, %d published, refused %v", len(r.asked), len(r.made), r.refused)
	head, err := r.chain.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if int(head.ID) != 1+len(r.made) {
		t.Errorf("%d deploys, and %d were published after the first", head.ID, len(r.made))
	}
	for id := record.ID(2); id <= head.ID; id++ {
		r.judge(r.get(id), r.get(id-1))
	}
	for reason := range r.moved {
		if d := r.made[reason]; d != nil {
			t.Errorf("%s was published as %d over another head than %d", reason, d.ID, r.asked[reason].From)
		}
	}
	for job, conflict := range r.undone {
		seen := r.get(conflict.Head.ID)
		if slices.Contains(job.Again, seen.ID) || !r.bringsBack(job.Commit, seen) {
			t.Errorf("%s with again %v was refused at deploy %d, undone %v", job.Reason, job.Again, seen.ID, seen.Record.Undone)
		}
	}
	r.judgeHolds(head)
	r.sameAsGit(head)
}

// bringsBack tells whether a commit contains what is undone at a deploy.
func (r *race) bringsBack(commit tree.OID, at *record.Deploy) bool {
	return slices.ContainsFunc(at.Record.Undone, func(u record.Undone) bool { return r.contains(commit, u.Hash) })
}

// judge holds a deploy against what was asked for, and against the one below.
func (r *race) judge(d, below *record.Deploy) {
	r.Helper()
	got, job := d.Record, r.asked[d.Record.Reason]
	if made := r.made[got.Reason]; made == nil || made.ID != d.ID || got.PreviousHash != below.Hash {
		r.Errorf("deploy %d, %s: nobody was told that it was published over %s", d.ID, got.Reason, got.PreviousHash)
		return
	}
	if job.To == nil {
		if !r.contains(d.Hash.OID(), below.Hash) || d.Hash != job.Hash() {
			r.Errorf("deploy %d, %s, does not go on from the one below", d.ID, got.Reason)
		}
		if r.bringsBack(d.Hash.OID(), below) && (got.Again != below.ID || !slices.Contains(job.Again, below.ID)) {
			r.Errorf("deploy %d, %s with again %v, brings back some of %v", d.ID, got.Reason, job.Again, below.Record.Undone)
		}
		return
	}
	to, _ := record.ParseRollback(got)
	from := r.get(to)
	was := from.Record
	if job.From != below.ID || job.To.ID != to {
		r.Errorf("deploy %d, %s: back to %d, asked at %d for %d", d.ID, got.Reason, to, job.From, job.To.ID)
	}
	if d.Hash != from.Hash || got.Tree != was.Tree || got.TreeSHA256 != was.TreeSHA256 || got.Files != was.Files ||
		got.Path != was.Path || got.Frontend != was.Frontend || !maps.Equal(got.Settings, was.Settings) {
		r.Errorf("deploy %d, %s, is not what deploy %d is", d.ID, got.Reason, to)
	}
	if !job.ByNumber && r.bringsBack(d.Hash.OID(), below) {
		r.Errorf("deploy %d, %s, brings back some of %v, and nobody named it", d.ID, got.Reason, below.Record.Undone)
	}
	if !r.contains(d.Hash.OID(), below.Hash) &&
		!slices.ContainsFunc(got.Undone, func(u record.Undone) bool { return u.Hash == below.Hash && u.ID == below.ID }) {
		r.Errorf("deploy %d, %s: undone is %v, without %d below", d.ID, got.Reason, got.Undone, below.ID)
	}
}

// judgeHolds looks for pushes that were published while the chain was held.
func (r *race) judgeHolds(head *record.Deploy) {
	r.Helper()
	events, err := r.chain.Events(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	held := int64(0) // since which revision; 0: not held
	id := record.ID(1)
	upTo := func(revision int64) {
		for ; id <= head.ID; id++ {
			d := r.get(id)
			at := d.Revisions[record.KeyRecord]
			if at > revision {
				return
			}
			if held != 0 && at > held && d.Record.Kind != record.KindRollback {
				r.Errorf("deploy %d was pushed at revision %d, and the chain is held since %d", id, at, held)
			}
		}
	}
	for _, e := range slices.Backward(events) {
		upTo(e.Revision)
		if held = e.Revision; e.Kind == record.EventResume {
			held = 0
		}
	}
	upTo(head.Revisions[record.KeyRecord])
}
