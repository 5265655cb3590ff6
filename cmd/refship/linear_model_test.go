package main

// The sequential models that a recorded history is held against: a chain, and a ref beside it. An operation's effect is
// one moment between its call and its return; what is not known to have happened may have happened at any time after
// the call, or never.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// What a client learned of an object, or did to it.
const (
	factHead      = "head"      // chain: it is at deploy ID, Hash ("" and 0: empty)
	factPublished = "published" // chain: Commit became deploy ID and replaced Hash ("": nothing, or not said)
	factConflict  = "conflict"  // chain: it is at deploy ID, Hash, which Commit does not contain
	factRef       = "ref"       // ref: it is at Hash ("": not there)
	factMoved     = "moved"     // ref: from Hash ("": it was not there) to Commit
	factBehind    = "behind"    // ref: it is at something that Commit does not contain
	factUnknown   = "unknown"   // Commit may have got there at any time since, or not at all
)

// observation is one fact about one object: a chain, named by its namespace, or a ref, named by server and repository.
type observation struct {
	Object   string `json:"object"`
	What     string `json:"what"`
	ID       int    `json:"id,omitempty"`
	Hash     string `json:"hash,omitempty"`
	Commit   string `json:"commit,omitempty"`
	Forced   bool   `json:"forced,omitempty"`
	Resolved bool   `json:"resolved,omitempty"` // of an unknown: it became deploy ID, or with 0 none
}

func (o observation) String() string {
	text := o.What
	if o.Commit != "" {
		text += " " + shortOID(o.Commit)
	}
	if o.ID != 0 {
		text += fmt.Sprintf(" #%d", o.ID)
	}
	if o.Hash != "" {
		text += " " + shortOID(o.Hash)
	}
	return text
}

func shortOID(oid string) string { return oid[:min(7, len(oid))] }

// operation is one line of a history: what a client did, and the facts that follow from what it was told.
type operation struct {
	Client int           `json:"client"`
	Did    string        `json:"did"`
	Call   int64         `json:"call"`   // ns since the history's start
	Return int64         `json:"return"` // as Call
	Told   string        `json:"told,omitempty"`
	Facts  []observation `json:"facts"`
}

// history is what concurrent clients saw. Safe for concurrent use.
type history struct {
	start   time.Time
	commits *lineage

	mu         sync.Mutex
	operations []operation
}

func newHistory() *history {
	return &history{start: time.Now(), commits: &lineage{above: map[string]map[string]bool{}}}
}

func (h *history) now() int64 { return int64(time.Since(h.start)) }

// add takes an operation that was called at call and returns now.
func (h *history) add(client int, did string, call int64, told string, facts ...observation) {
	back := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, operation{Client: client, Did: did, Call: call, Return: back, Told: told,
		Facts: facts})
}

// resolve says what became of the pushes to a chain whose result was not told: the whole chain, read at the end, has a
// commit once or never. That it was there then is all that is known of the time.
func (h *history) resolve(chain string, at map[string]int) {
	resolved := map[string]bool{}
	for _, op := range h.operations {
		for _, fact := range op.Facts {
			if fact.Object == chain && fact.What == factPublished {
				resolved[fact.Commit] = true // by the client that was told
			}
		}
	}
	slices.SortFunc(h.operations, func(a, b operation) int { return cmp.Compare(a.Call, b.Call) })
	for i := range h.operations {
		for j := range h.operations[i].Facts {
			fact := &h.operations[i].Facts[j]
			if fact.Object != chain || fact.What != factUnknown {
				continue
			}
			fact.ID = at[fact.Commit] // 0: it is not there
			if resolved[fact.Commit] {
				fact.ID = 0
			}
			fact.Resolved, resolved[fact.Commit] = true, true
		}
	}
}

// porcupine gives the facts about chains or about refs as the checker takes them.
func (h *history) porcupine(chains bool) []porcupine.Operation {
	var all []porcupine.Operation
	for _, op := range h.operations {
		for _, fact := range op.Facts {
			if isChain(fact.Object) != chains || fact.Resolved && fact.ID == 0 {
				continue
			}
			p := porcupine.Operation{ClientId: op.Client, Input: fact, Call: op.Call, Return: op.Return}
			if fact.What == factUnknown {
				p.Return = math.MaxInt64
			}
			all = append(all, p)
		}
	}
	return all
}

func isChain(object string) bool { return strings.HasPrefix(object, "/") }

// lineage knows which commits contain which. Safe for concurrent use.
type lineage struct {
	mu    sync.Mutex
	above map[string]map[string]bool // a commit's ancestors, and itself
}

func (l *lineage) add(commit string, parents ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	above := map[string]bool{commit: true}
	for _, p := range parents {
		maps.Copy(above, l.above[p])
	}
	l.above[commit] = above
}

// contains tells whether ancestor is commit or an ancestor of it. Every commit contains "".
func (l *lineage) contains(commit, ancestor string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ancestor == "" || l.above[commit][ancestor]
}

// full finds the commit that an abbreviated oid means, "?…" if there is none: that is no state of any chain.
func (l *lineage) full(abbreviated string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := "?" + abbreviated
	for commit := range l.above {
		if abbreviated != "" && strings.HasPrefix(commit, abbreviated) {
			if found[0] != '?' {
				return "?" + abbreviated
			}
			found = commit
		}
	}
	return found
}

// tips leaves out what others of the commits contain.
func (l *lineage) tips(commits ...string) []string {
	slices.Sort(commits)
	commits = slices.Compact(commits)
	var tips []string
	for _, c := range commits {
		if c != "" && !slices.ContainsFunc(commits, func(o string) bool { return o != c && l.contains(o, c) }) {
			tips = append(tips, c)
		}
	}
	return tips
}

// place is a model's state: where a chain or a ref is.
type place struct {
	ID   int // 0 for a ref
	Hash string
}

// model makes the checker's model of one kind of object.
func linearModel(step func(place, observation) []place) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: splitByObject,
		Init:      func() []any { return []any{place{}} },
		Step: func(state, input, _ any) []any {
			var next []any
			for _, p := range step(state.(place), input.(observation)) {
				next = append(next, p)
			}
			return next
		},
		Hash: func(state any) uint64 {
			p, h := state.(place), fnv.New64a()
			fmt.Fprintln(h, p.ID, p.Hash)
			return h.Sum64()
		},
		DescribeOperation: func(input, _ any) string { return input.(observation).String() },
		DescribeState: func(state any) string {
			p := state.(place)
			return fmt.Sprintf("#%d %s", p.ID, shortOID(p.Hash))
		},
	}
	return m.ToModel()
}

func splitByObject(all []porcupine.Operation) [][]porcupine.Operation {
	parts := map[string][]porcupine.Operation{}
	for _, op := range all {
		object := op.Input.(observation).Object
		parts[object] = append(parts[object], op)
	}
	var sorted [][]porcupine.Operation
	for _, object := range slices.Sorted(maps.Keys(parts)) {
		sorted = append(sorted, parts[object])
	}
	return sorted
}

// chainModel: only what contains the head replaces it, as the next number.
func (l *lineage) chainModel() porcupine.Model {
	return linearModel(func(at place, o observation) []place {
		next := place{at.ID + 1, o.Commit}
		switch o.What {
		case factHead:
			return keepIf(at, at == place{o.ID, o.Hash})
		case factConflict:
			return keepIf(at, at == place{o.ID, o.Hash} && !l.contains(o.Commit, at.Hash))
		case factPublished:
			fits := next.ID == o.ID && at.Hash != o.Commit && l.contains(o.Commit, at.Hash) &&
				(o.Hash == "" && at.ID > 0 || o.Hash == at.Hash)
			return keepIf(next, fits)
		case factUnknown:
			fits := at.Hash != o.Commit && l.contains(o.Commit, at.Hash)
			switch {
			case o.Resolved:
				return keepIf(next, fits && next.ID == o.ID)
			case fits:
				return []place{at, next}
			}
			return []place{at}
		}
		return nil
	})
}

// refModel: a ref moves from where git says that it was, forward unless it is forced.
func (l *lineage) refModel() porcupine.Model {
	return linearModel(func(at place, o observation) []place {
		next := place{Hash: o.Commit}
		may := o.Forced || l.contains(o.Commit, at.Hash)
		switch o.What {
		case factRef:
			return keepIf(at, at.Hash == o.Hash)
		case factBehind:
			return keepIf(at, !l.contains(o.Commit, at.Hash))
		case factMoved:
			return keepIf(next, at.Hash == o.Hash && may)
		case factUnknown:
			if may {
				return []place{at, next}
			}
			return []place{at}
		}
		return nil
	})
}

func keepIf(p place, fits bool) []place {
	if fits {
		return []place{p}
	}
	return nil
}

// linearizable checks all facts about one kind of object; what is decided is Ok or Illegal, else the time was too
// short.
func (h *history) linearizable(chains bool) (porcupine.CheckResult, porcupine.LinearizationInfo, porcupine.Model) {
	m := h.commits.refModel()
	if chains {
		m = h.commits.chainModel()
	}
	result, info := porcupine.CheckOperationsVerbose(m, h.porcupine(chains), 2*patience)
	return result, info, m
}

// check fails the test where the history is not linearizable, and leaves the history and a picture of it in files.
func (h *history) check(t *testing.T) {
	t.Helper()
	for _, chains := range []bool{true, false} {
		what := map[bool]string{true: "chains", false: "refs"}[chains]
		start := time.Now()
		result, info, m := h.linearizable(chains)
		t.Logf("%s: %d facts from %d operations: %s, checked in %s", what, len(h.porcupine(chains)), len(h.operations),
			result, time.Since(start).Round(time.Millisecond))
		if result == porcupine.Ok {
			continue
		}
		dir, err := os.MkdirTemp("", "refship-history-")
		if err != nil {
			t.Fatal(err)
		}
		picture := filepath.Join(dir, what+".html")
		if err := porcupine.VisualizePath(m, info, picture); err != nil {
			t.Error(err)
		}
		text := filepath.Join(dir, "history.jsonl")
		if err := os.WriteFile(text, h.encode(), 0o600); err != nil {
			t.Error(err)
		}
		t.Errorf("the history of %s is not linearizable (%s): see %s and %s", what, result, text, picture)
	}
}

// encode gives a line of JSON for each operation, in the order of their calls.
func (h *history) encode() []byte {
	slices.SortFunc(h.operations, func(a, b operation) int { return cmp.Compare(a.Call, b.Call) })
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, op := range h.operations {
		_ = e.Encode(op) // of plain fields into memory
	}
	return b.Bytes()
}
