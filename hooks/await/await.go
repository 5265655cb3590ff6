package await

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/deploy/store"
	"refship/deploy/text"
)

const (
	lookOften  = 250 * time.Millisecond
	lookSeldom = 2 * time.Second
	oftenFor   = 30 * time.Second
	tellAgain  = 10 * time.Second
	maxNamed   = 5 // nodes
	maxReason  = 200
)

// ReasonNoVersion: a deploy has no version file, so that mgmt's hosts cannot say that they run it. About: repository and
// target.
const ReasonNoVersion fault.Reason = "await-no-version"

// Nodes waits until all nodes of a chain run a deploy, or a later one, for at most limit. Etcd is asked only
// between enter, which may wait, and leave. tell gets how many do, when that changes and from time to time.
func Nodes(
	ctx context.Context, chain *store.Chain, d *record.Deploy, limit time.Duration,
	enter func(context.Context) (leave func(), err error), tell func(string),
) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w := &wait{chain: chain, deploy: d, enter: enter, tell: tell, began: time.Now()}
	for {
		done, err := w.look(ctx)
		if done || err != nil && ctx.Err() == nil {
			return err
		}
		pause := lookOften
		if time.Since(w.began) > oftenFor {
			pause = lookSeldom
		}
		select {
		case <-ctx.Done():
			return w.over(ctx)
		case <-time.After(pause):
		}
	}
}

// wait is one call of Nodes.
type wait struct {
	chain  *store.Chain
	deploy *record.Deploy
	enter  func(context.Context) (leave func(), err error)
	tell   func(string)
	began  time.Time

	gone  map[string]bool // that were gone when the wait began
	nodes []store.Node    // as they were read last
	rings string          // what there was to say of the rollout then
	said  string
	told  time.Time
}

// look reads what nodes say. done: there is nothing to wait for any more.
func (w *wait) look(ctx context.Context) (done bool, err error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	nodes, err := w.chain.Reports(ctx)
	if err != nil {
		return false, err
	}
	if w.gone == nil {
		w.gone = map[string]bool{}
		for _, n := range nodes {
			w.gone[n.Name] = !n.Alive
		}
	}
	w.nodes = nodes
	switch {
	case w.isMgmts() && !w.hasVersion():
		r := w.deploy.Record
		return true, &fault.Error{
			Kind: fault.Failed, Reason: ReasonNoVersion, About: []string{r.Repository, r.Target},
			What: fmt.Sprintf("deploy %d stands, and has no version file by which hosts could say that they run it",
				w.deploy.ID),
		}
	case len(nodes) == 0 && w.isMgmts(): // the first host says what it runs once it runs it
		if w.told.IsZero() {
			w.tell(fmt.Sprintf("no host of %s has said yet what it runs", w.chain.Namespace()))
			w.told = time.Now()
		}
		return false, nil
	case len(nodes) == 0:
		return true, fault.New(fault.Failed, fmt.Sprintf("deploy %d stands, and no node of %s has reported", w.deploy.ID,
			w.chain.Namespace()), "refship agent, on each node, runs what is deployed")
	}
	if over, err := w.lookAtRollout(ctx); over || err != nil {
		return over, err
	}
	behind := w.behind()
	if len(behind) == 0 {
		w.tell(w.count(behind))
		return true, nil
	}
	if !slices.ContainsFunc(behind, func(n store.Node) bool { return n.Alive || !w.gone[n.Name] }) {
		return true, w.failed("")
	}
	said := w.count(behind)
	if w.rings != "" {
		said += "; " + w.rings
	}
	if said != w.said || time.Since(w.told) >= tellAgain {
		w.tell(said)
		w.said, w.told = said, time.Now()
	}
	return false, nil
}

// lookAtRollout reads which rings may run the deploy. over: all of them never will, by themselves.
func (w *wait) lookAtRollout(ctx context.Context) (over bool, err error) {
	state, err := w.chain.State(ctx)
	if err != nil || state.Head == nil {
		return false, err
	}
	w.rings = ""
	if head := state.Head; head.ID != w.deploy.ID {
		if head.Record == nil || !slices.Contains(head.Record.Undone, record.Undone{ID: w.deploy.ID, Hash: w.deploy.Hash}) {
			return false, nil
		}
		return true, fault.Newf(fault.Failed, "deploy %d was taken back with deploy %d, by %s: %s", w.deploy.ID, head.ID,
			head.By(), text.Printable(record.Shorten(head.Record.Reason)))
	}
	w.rings = rollout.Words(state, w.nodes, time.Now())
	if r := state.Rollout; r.IsOf(state.Head) && r.Stopped != "" {
		return true, w.failed("")
	}
	return false, nil
}

// isMgmts tells whether mgmt's hosts run the deploy.
func (w *wait) isMgmts() bool { return w.deploy.Record != nil && w.deploy.Record.Frontend.IsMgmt() }

// hasVersion tells whether the deploy has what hosts say that they run.
func (w *wait) hasVersion() bool { return w.deploy.Record.HasVersion() }

// over is the error of a wait whose time has passed, or that was broken off.
func (w *wait) over(ctx context.Context) error {
	if ctx.Err() != context.DeadlineExceeded {
		return context.Cause(ctx)
	}
	after := " after " + text.Took(time.Since(w.began))
	if len(w.nodes) == 0 {
		return fault.New(fault.Failed, fmt.Sprintf("deploy %d stands, and no host of %s has said what it runs%s",
			w.deploy.ID, w.chain.Namespace(), after), "let the code write the version file's text: see mgmt's manual page")
	}
	return w.failed(after)
}

// failed says who does not run the deploy.
func (w *wait) failed(when string) error {
	behind := w.behind()
	lines := []string{w.count(behind) + when}
	if w.rings != "" {
		lines = append(lines, w.rings)
	}
	for i, n := range behind {
		if i == maxNamed {
			lines = append(lines, text.More(len(behind)-i))
			break
		}
		lines = append(lines, text.Printable(n.Name)+": "+w.stands(n))
	}
	return fault.New(fault.Failed, strings.Join(lines, "; "), fmt.Sprintf("deploy %d stands", w.deploy.ID))
}

// behind are the nodes that run an earlier deploy, or none.
func (w *wait) behind() []store.Node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n store.Node) bool {
		return n.Alive && (n.ID > w.deploy.ID || n.ID == w.deploy.ID && n.Hash == w.deploy.Hash)
	})
}

// count is "7 of 9 nodes run deploy 12".
func (w *wait) count(behind []store.Node) string {
	all := len(w.nodes)
	return fmt.Sprintf("%d of %s deploy %d", all-len(behind), text.Plural(all, "node runs", "nodes run"), w.deploy.ID)
}

// stands says what a node does that does not run the deploy.
func (w *wait) stands(n store.Node) string {
	switch {
	case !n.Alive && !n.Time.IsZero():
		return "gone since " + n.Time.UTC().Format(time.RFC3339)
	case !n.Alive:
		return "gone"
	case n.Reason != "" && n.State == record.NodeDrifted:
		return "drifted: " + text.Printable(text.Shorten(n.Reason, maxReason))
	case n.Reason != "":
		return text.Printable(text.Shorten(n.Reason, maxReason))
	case n.State == record.NodeSwitching:
		return "still switching"
	case n.Host:
		return fmt.Sprintf("runs deploy %d, as far as it has said", n.ID)
	case n.ID == 0:
		return "runs no deploy yet"
	}
	return fmt.Sprintf("runs deploy %d", n.ID)
}
