package notify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/hooks/report"
)

// Kind is what an event is about.
type Kind string

// The kinds of events.
const (
	Published   Kind = "published"    // a deploy is the chain's head
	RolledBack  Kind = "rolled-back"  // an earlier deploy is the head again
	Refused     Kind = "refused"      // a push, and no ref moved
	NotDeployed Kind = "not-deployed" // a ref is where it was asked to be, and its deploy was not published
	Held        Kind = "held"         // the chain takes no deploys
	Resumed     Kind = "resumed"      // it does again
	NodesFailed Kind = "nodes-failed" // nodes cannot run the head
	NodesDone   Kind = "nodes-done"   // all nodes that are alive run the head
	Test        Kind = "test"         // the operator tries whether it arrives
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{Published, RolledBack, Refused, NotDeployed, Held, Resumed, NodesFailed, NodesDone, Test}
}

const (
	// Format is the version of the body's format.
	Format = 1
	// maxText bounds each text that somebody else wrote, in bytes; an error may have maxWhy.
	maxText, maxWhy = 500, 2000
	// maxListed is how many refs and nodes an event names.
	maxListed = 20
)

// Event is what is told: the body of a request, as JSON.
type Event struct {
	Format     int              `json:"format"`
	ID         string           `json:"id"` // of the delivery; the same as often as it is sent
	Kind       Kind             `json:"event"`
	Time       time.Time        `json:"time"` // when it happened
	Repository string           `json:"repository"`
	Target     string           `json:"target"`
	Ref        string           `json:"ref"`
	Namespace  record.Namespace `json:"namespace"`
	Text       string           `json:"text"`   // all of it in one line, for people
	By         string           `json:"by"`     // who did it; ""
	Reason     string           `json:"reason"` // why; ""
	Deploy     *Deploy          `json:"deploy,omitempty"`
	Refs       []RefUpdate      `json:"refs,omitempty"` // what was pushed to the target, and is not deployed
	Nodes      *Nodes           `json:"nodes,omitempty"`
}

// Deploy is the deploy that an event is about.
type Deploy struct {
	ID           record.ID   `json:"id"`
	Hash         record.Hash `json:"hash"` // a commit's oid, or "tree:…"
	PreviousHash record.Hash `json:"previous_hash"`
	Kind         record.Kind `json:"kind"` // push, deploy or rollback; "" of another writer
	Forced       bool        `json:"forced"`
	Commits      int         `json:"commits"`
	Subject      string      `json:"subject"`
	Author       string      `json:"author"`
}

// RefUpdate is a ref that was pushed.
type RefUpdate struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Nodes are the nodes of the chain as they were, and those that an event is about.
type Nodes struct {
	All     int    `json:"all"`
	Running int    `json:"running"` // the deploy
	Gone    int    `json:"gone"`
	Failed  []Node `json:"failed"` // those that have failed since the last event; the first 20
}

// Node is a node that has failed.
type Node struct {
	Name   string           `json:"name"`
	Ring   string           `json:"ring"`
	Runs   record.ID        `json:"runs"` // 0: none
	State  record.NodeState `json:"state"`
	Reason string           `json:"reason"`
}

// encode gives the event's bytes.
func (e *Event) encode() ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return body, nil
}

// newEvent begins an event about a target. Those with the same parts have the same id.
func newEvent(at Place, kind Kind, when time.Time, parts ...string) *Event {
	return &Event{
		Format: Format, ID: idOf(kind, append([]string{string(at.Target.Namespace)}, parts...)), Kind: kind,
		Time: when.UTC().Truncate(time.Millisecond), Repository: at.Repository, Target: at.Target.Name, Ref: at.Target.Ref,
		Namespace: at.Target.Namespace,
	}
}

func idOf(kind Kind, parts []string) string {
	sum := sha256.Sum256([]byte(string(kind) + "\x00" + strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// short makes a text that somebody else wrote fit into one line.
func short(s string) string { return text.Printable(text.Shorten(s, maxText)) }

// NewTest makes an event that says nothing happened.
func NewTest(at Place, by string) *Event {
	e := newEvent(at, Test, time.Now(), rand.Text())
	e.By, e.Text = short(by), fmt.Sprintf("test of %s: nothing has happened to %s", e.name(), e.Namespace)
	return e
}

// name is the target, for people: as a chain is named on the command line.
func (e *Event) name() string { return e.Repository + ":" + e.Target }

// deployed is the event of a deploy.
func deployed(at Place, chain record.ChainID, d *record.Deploy) *Event {
	kind, when := Published, time.Now()
	told := &Deploy{ID: d.ID, Hash: d.Hash}
	if r := d.Record; r != nil {
		if when = r.Time; r.Kind == record.KindRollback {
			kind = RolledBack
		}
		*told = Deploy{
			ID: d.ID, Hash: d.Hash, PreviousHash: r.PreviousHash, Kind: r.Kind, Forced: r.Forced, Commits: r.Commits,
			Subject: short(r.Subject), Author: short(r.Author),
		}
	}
	e := newEvent(at, kind, when, string(chain), d.ID.String())
	e.Deploy, e.By = told, short(d.By())
	what := ""
	if d.Record != nil {
		e.Reason = short(d.Record.Reason)
	}
	if kind == RolledBack {
		what = "a rollback to "
	}
	e.Text = fmt.Sprintf("%s: deploy %d published, %s%s, by %s", e.name(), d.ID, what, d.ShortHash(), e.By)
	if told.Subject != "" {
		e.Text += ": " + told.Subject
	}
	if e.Reason != "" {
		e.Text += " (" + e.Reason + ")"
	}
	return e
}

// happened is the event of what happened to a chain beside its deploys; nil if receivers are not told of that.
func happened(at Place, ev *record.Event) *Event {
	kind, words := Held, "is on hold"
	switch ev.Kind {
	case record.EventHold:
	case record.EventResume:
		kind, words = Resumed, "goes on"
	default:
		return nil
	}
	e := newEvent(at, kind, ev.Time, ev.Time.Format(time.RFC3339Nano), ev.User)
	e.By, e.Reason = short(ev.User), short(ev.Reason)
	e.Text = fmt.Sprintf("%s %s, by %s", e.name(), words, e.By)
	if e.Reason != "" {
		e.Text += ": " + e.Reason
	}
	return e
}

// refused is the event of a push that is not deployed.
func refused(at Place, r *report.Refusal) *Event {
	kind, words := Refused, "a push was refused"
	if r.Moved {
		kind, words = NotDeployed, "pushed, not deployed"
	}
	e := newEvent(at, kind, time.Now(), rand.Text())
	e.By = short(r.Who.Name)
	e.Reason = text.Printable(text.Shorten(strings.ReplaceAll(r.Err.Error(), "\n", "; "), maxWhy))
	for _, u := range r.Updates {
		if u.Ref == at.Target.Ref && len(e.Refs) < maxListed {
			e.Refs = append(e.Refs, RefUpdate{Name: short(u.Ref), Old: u.Old.String(), New: u.New.String()})
		}
	}
	e.Text = fmt.Sprintf("%s: %s, by %s: %s", e.name(), words, e.By, e.Reason)
	return e
}

// nodesDone is the event that all nodes run a deploy, of which so many were told that they had failed.
func nodesDone(at Place, chain record.ChainID, d *record.Deploy, n Nodes, failed int) *Event {
	e := newEvent(at, NodesDone, time.Now(), string(chain), d.ID.String(), strconv.Itoa(failed))
	e.Deploy, e.Nodes = &Deploy{ID: d.ID, Hash: d.Hash}, &n
	e.Text = fmt.Sprintf("%s: %s", e.name(), running(n, d.ID))
	return e
}

// nodesFailed is the event that nodes have failed.
func nodesFailed(at Place, chain record.ChainID, d *record.Deploy, n Nodes, failed []store.Node) *Event {
	parts := []string{string(chain), d.ID.String()}
	for _, node := range failed {
		parts = append(parts, node.Name)
	}
	e := newEvent(at, NodesFailed, time.Now(), parts...)
	for _, node := range failed[:min(len(failed), maxListed)] {
		n.Failed = append(n.Failed, Node{
			Name: short(node.Name), Ring: short(node.Ring), Runs: node.ID, State: record.NodeState(short(string(node.State))),
			Reason: short(node.Reason),
		})
	}
	e.Deploy, e.Nodes = &Deploy{ID: d.ID, Hash: d.Hash}, &n
	first := n.Failed[0]
	e.Text = fmt.Sprintf("%s: %s cannot run deploy %d: %s: %s; %s", e.name(), text.Count(len(failed), "node"), d.ID,
		first.Name, first.Reason, running(n, d.ID))
	return e
}

func running(n Nodes, id record.ID) string {
	words := fmt.Sprintf("%d of %s deploy %d", n.Running, text.Plural(n.All, "node runs", "nodes run"), id)
	if n.Gone > 0 {
		words += fmt.Sprintf(", %d gone", n.Gone)
	}
	return words
}

// hasFailed tells whether a node cannot run a deploy.
func hasFailed(n store.Node, d *record.Deploy) bool {
	isAbout := n.Wants == d.ID || n.ID == d.ID
	return n.Alive && isAbout && (n.State == record.NodeFailed || n.State == record.NodeRefused || n.Failure != "")
}

// runs tells whether a node runs a deploy as it should.
func runs(n store.Node, d *record.Deploy) bool {
	return n.Alive && (n.ID > d.ID || n.ID == d.ID && n.Hash == d.Hash)
}
