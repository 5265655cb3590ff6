package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/store"
)

const (
	// lookApart is how long two looks at a chain are apart, at least; nodesApart, at its nodes. lookEvery is how long at
	// most, though nothing is heard.
	lookApart, nodesApart, lookEvery = 200 * time.Millisecond, time.Second, 30 * time.Second
	// afterError is the pause after an error, and lookTime bounds a look.
	afterError, lookTime = 2 * time.Second, time.Minute
	// maxBehind is how many deploys are told of at most when it was not looked for long.
	maxBehind = 200
	// maxFailed is how many nodes are told of that cannot run one deploy.
	maxFailed = 100
)

// follower looks at the chain of one target, and queues what is new.
type follower struct {
	at       Place
	notifier *Notifier
	chain    *deploy.Chain
	lines    []*line
	log      *slog.Logger
	mu       sync.Mutex // guards the next two: a refused push has it looked at the chain, too
	told     told
	noted    []byte // told, as it was put on disk last

	warned string // the error that was told last
	stop   context.CancelFunc
	done   chan struct{} // closed at the end of run
}

func (n *Notifier) newFollower(at Place) (*follower, error) {
	receivers, err := at.Target.Notify.Receivers()
	if err != nil {
		return nil, err
	}
	f := &follower{
		at: at, notifier: n, chain: n.cfg.Store.Chain(at.Target.Namespace),
		log: n.cfg.Log.With("repository", at.Repository, "target", at.Target.Name),
	}
	var kept []*queue
	for _, to := range receivers {
		q := n.queue(at, to)
		kept = append(kept, q)
		f.lines = append(f.lines, &line{at: at, to: to, queue: q, notifier: n, log: n.log(at, to)})
	}
	waiting, err := at.sweep(kept)
	if waiting > 0 {
		f.log.Info("notify: dropped what was waiting for receivers that the target has no more", "events", waiting)
	}
	return f, err
}

// end stops it, and waits until it has.
func (f *follower) end() {
	f.stop()
	<-f.done
}

func (f *follower) run(ctx context.Context) {
	var lines sync.WaitGroup
	defer lines.Wait()
	for _, l := range f.lines {
		lines.Go(func() { l.run(ctx) })
	}
	story, stopStory := f.chain.WatchStory(ctx)
	defer stopStory()
	nodes, stopNodes := f.chain.WatchNodes(ctx)
	defer stopNodes()
	for ctx.Err() == nil {
		done, err := f.look(ctx)
		again := lookEvery
		if err != nil && ctx.Err() == nil {
			again = afterError
			if said := err.Error(); said != f.warned {
				f.log.WarnContext(ctx, "notify: it is tried again", "error", err)
				f.warned = said
			}
		} else {
			f.warned = ""
		}
		heard := nodes
		if done {
			heard = nil
		}
		timer := time.NewTimer(again)
		pause := lookApart
		select {
		case <-ctx.Done():
		case <-story:
		case <-heard:
			pause = nodesApart
		case <-timer.C:
		}
		timer.Stop()
		f.notifier.clock.sleep(ctx, pause)
	}
}

// look queues what is new; done: of the nodes nothing more is told before the next deploy. It notes that only when it
// is on disk: what is cut off is queued again, with the same ids.
func (f *follower) look(ctx context.Context) (done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	changed, err := f.at.hasChanged()
	switch {
	case err != nil:
		return false, err
	case changed: // another follower tells the others
		f.notifier.Poke()
		return false, nil
	}
	state, err := f.chain.State(ctx)
	if err != nil || state.Hold != nil && state.Hold.IsImport() {
		return false, err
	}
	if f.told, err = f.at.readTold(); err != nil {
		return false, err
	}
	events, err := f.chain.Events(ctx)
	if err != nil {
		return false, err
	}
	if err := f.begin(ctx, state, events); err != nil {
		return false, err
	}
	err = f.story(ctx, state, events)
	if err == nil {
		err = f.nodes(ctx, state)
	}
	return f.told.Nodes.isOver(), errors.Join(err, f.note())
}

// note puts on disk what was queued, if that has changed.
func (f *follower) note() error {
	encoded, err := json.Marshal(&f.told)
	if err != nil || bytes.Equal(encoded, f.noted) {
		return err
	}
	if err := f.at.writeTold(&f.told); err != nil {
		return err
	}
	f.noted = encoded
	return nil
}

func chainOf(head *record.Deploy) record.ChainID {
	if head == nil || head.Record == nil {
		return ""
	}
	return head.Record.Chain
}

// begin finds out where to begin: at what happened since the target got its first URL, or, where that is not known or
// the chain is another one by now, after all that is there.
func (f *follower) begin(ctx context.Context, state *record.State, events []*record.Event) error {
	head := record.ID(0)
	if state.Head != nil {
		head = state.Head.ID
	}
	chain := chainOf(state.Head)
	isOther := f.told.Chain != "" && chain != "" && chain != f.told.Chain || head < f.told.Deploy
	if f.told.Known && !isOther {
		if chain != "" {
			f.told.Chain = chain
		}
		return nil
	}
	since := f.told.Since
	if f.told.Known {
		f.log.WarnContext(ctx, "notify: the chain is not the one that was told of, or was cut: only what comes is told",
			"told", f.told.Deploy, "head", head)
		since = time.Time{}
	}
	isOld := func(at time.Time) bool { return since.IsZero() || at.Before(since) }
	f.told = told{Since: f.told.Since, Known: true, Chain: chain}
	for _, e := range events {
		if isOld(e.Time) {
			f.told.Event = max(f.told.Event, e.Revision)
		}
	}
	f.told.Deploy = 0
	err := f.chain.Log(ctx, maxBehind, func(d *record.Deploy) error {
		if d.Record == nil || isOld(d.Record.Time) {
			f.told.Deploy = d.ID
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	f.told.Nodes = toldNodes{Deploy: f.told.Deploy, Old: true}
	return nil
}

var errEnough = errors.New("enough")

// story queues deploys, holds and resumes, in the order in which they happened.
func (f *follower) story(ctx context.Context, state *record.State, events []*record.Event) error {
	var deploys []*record.Deploy // newest first, as are the events
	if state.Head != nil && state.Head.ID > f.told.Deploy {
		err := f.chain.Down(ctx, state.Head.ID, func(d *record.Deploy) error {
			if d.ID <= f.told.Deploy || len(deploys) == maxBehind {
				return errEnough
			}
			deploys = append(deploys, d)
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	events = slices.DeleteFunc(slices.Clone(events), func(e *record.Event) bool { return e.Revision <= f.told.Event })
	for len(deploys)+len(events) > 0 {
		var e *Event
		next := f.told
		d, ev := len(deploys)-1, len(events)-1
		if d >= 0 && (ev < 0 || events[ev].Follows(deploys[d])) {
			e, next.Deploy = deployed(f.at, chainOf(state.Head), deploys[d]), deploys[d].ID
			deploys = deploys[:d]
		} else {
			e, next.Event = happened(f.at, events[ev]), events[ev].Revision
			events = events[:ev]
		}
		if e != nil {
			if err := f.notifier.add(ctx, f.at, e, true); err != nil {
				return err
			}
		}
		f.told = next
	}
	return nil
}

// isOver tells whether nothing more is told. A node may fail after all have run the deploy, or come late.
func (t toldNodes) isOver() bool { return t.Old || t.Done && len(t.Failed) >= maxFailed }

// nodes queues that nodes have failed, or that all run the head.
func (f *follower) nodes(ctx context.Context, state *record.State) error {
	head := state.Head
	if head != nil && f.told.Nodes.Deploy != head.ID {
		f.told.Nodes = toldNodes{Deploy: head.ID}
	}
	if head == nil || f.told.Nodes.isOver() {
		return nil
	}
	all, err := f.chain.Reports(ctx)
	if err != nil {
		return err
	}
	n, alive, ready := Nodes{All: len(all)}, 0, 0
	var failed []store.Node
	for _, node := range all {
		isFailed, isRunning := hasFailed(node, head), runs(node, head)
		switch {
		case !node.Alive:
			n.Gone++
		default:
			alive++
		}
		if isRunning {
			n.Running++
		}
		if isRunning && !isFailed {
			ready++
		}
		isTold := len(f.told.Nodes.Failed)+len(failed) >= maxFailed || slices.Contains(f.told.Nodes.Failed, node.Name)
		if isFailed && !isTold {
			failed = append(failed, node)
		}
	}
	if len(failed) > 0 {
		if err := f.notifier.add(ctx, f.at, nodesFailed(f.at, chainOf(head), head, n, failed), true); err != nil {
			return err
		}
		for _, node := range failed {
			f.told.Nodes.Failed = append(f.told.Nodes.Failed, node.Name)
		}
		f.told.Nodes.Done = false // that all is well is told anew
	}
	if f.told.Nodes.Done || alive == 0 || ready < alive {
		return nil
	}
	e := nodesDone(f.at, chainOf(head), head, n, len(f.told.Nodes.Failed))
	if err := f.notifier.add(ctx, f.at, e, true); err != nil {
		return err
	}
	f.told.Nodes.Done = true
	return nil
}
