package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/anishathalye/porcupine"
)

// corruptions are lies of a kind that a broken server would tell; each changes a history, or says that it has no place
// for it.
var corruptions = []struct {
	name string
	do   func(*history) bool
}{
	{"two reads swapped", swapReads},
	{"a deploy published twice", publishTwice},
	{"a lost update", loseUpdate},
	{"a refusal without a reason", refuseForNothing},
}

// swapReads exchanges what two reads saw, of which one was over before the other began.
func swapReads(h *history) bool {
	for i := range h.operations {
		for j := len(h.operations) - 1; j > i; j-- {
			a, b := &h.operations[i], &h.operations[j]
			if isHead(a) && isHead(b) && a.Return < b.Call && a.Facts[0].Object == b.Facts[0].Object &&
				a.Facts[0].ID < b.Facts[0].ID {
				a.Facts, b.Facts = b.Facts, a.Facts
				return true
			}
		}
	}
	return false
}

func isHead(op *operation) bool { return len(op.Facts) == 1 && op.Facts[0].What == factHead }

// publishTwice has the last published deploy published again afterwards, as the next one.
func publishTwice(h *history) bool {
	op, fact := h.lastPublished()
	if op == nil {
		return false
	}
	again := *fact
	again.ID, again.Hash = fact.ID+1, fact.Commit
	h.operations = append(h.operations, operation{Client: op.Client, Did: op.Did, Call: op.Return + 1, Return: op.Return +
		2, Facts: []observation{again}})
	return true
}

// loseUpdate has a deploy replace what the one before had replaced already.
func loseUpdate(h *history) bool {
	replaced := map[string]string{} // by object and id
	for i := range h.operations {
		for j := range h.operations[i].Facts {
			fact := &h.operations[i].Facts[j]
			if fact.What != factPublished || fact.Hash == "" {
				continue
			}
			if before := replaced[fmt.Sprint(fact.Object, fact.ID-1)]; before != "" {
				fact.Hash = before
				return true
			}
			replaced[fmt.Sprint(fact.Object, fact.ID)] = fact.Hash
		}
	}
	return false
}

// refuseForNothing has a push refused because of a head that it contains.
func refuseForNothing(h *history) bool {
	_, fact := h.lastPublished()
	if fact == nil || fact.Hash == "" {
		return false
	}
	fact.What, fact.ID = factConflict, fact.ID-1
	return true
}

func (h *history) lastPublished() (*operation, *observation) {
	for i := range slices.Backward(h.operations) {
		for j, fact := range h.operations[i].Facts {
			if fact.What == factPublished && fact.Hash != "" {
				return &h.operations[i], &h.operations[i].Facts[j]
			}
		}
	}
	return nil, nil
}

// clone copies a history deeply enough for corruptions.
func (h *history) clone() *history {
	c := &history{start: h.start, commits: h.commits}
	for _, op := range h.operations {
		op.Facts = slices.Clone(op.Facts)
		c.operations = append(c.operations, op)
	}
	return c
}

// checkCorrupted tells lies about a linearizable history and expects each to be found out: else the check proves
// nothing. It gives how many could be told.
func (h *history) checkCorrupted(t *testing.T) (told int) {
	t.Helper()
	for _, c := range corruptions {
		lie := h.clone()
		if !c.do(lie) {
			t.Logf("%s: this history has no place for it", c.name)
			continue
		}
		told++
		if result, _, _ := lie.linearizable(true); result != porcupine.Illegal {
			t.Errorf("%s: %s, want %s", c.name, result, porcupine.Illegal)
		}
	}
	return told
}

// TestLinearizableFindsLies checks the check, on a written history: three deploys with a refusal, an unknown push
// and reads among them.
func TestLinearizableFindsLies(t *testing.T) {
	t.Parallel()
	oid := func(n int) string { return fmt.Sprintf("%040x", n) }
	h := newHistory()
	h.commits.add(oid(1))
	h.commits.add(oid(2), oid(1))
	h.commits.add(oid(3), oid(1))
	h.commits.add(oid(4), oid(3))
	h.commits.add(oid(5), oid(4))
	h.commits.add(oid(6), oid(5))
	const chain, ref = "/refship/config", "server1:config"
	at := func(call, back int64, facts ...observation) {
		h.operations = append(h.operations, operation{Call: call, Return: back, Facts: facts})
	}
	head := func(id, commit int) observation {
		return observation{Object: chain, What: factHead, ID: id, Hash: oid(commit)}
	}
	at(0, 1, observation{Object: chain, What: factHead})
	at(1, 5, observation{Object: chain, What: factPublished, ID: 1, Commit: oid(1)},
		observation{Object: ref, What: factMoved, Commit: oid(1)})
	at(6, 8, head(1, 1))
	at(7, 20, observation{Object: chain, What: factConflict, ID: 2, Hash: oid(3), Commit: oid(2)})
	at(7, 12, observation{Object: chain, What: factPublished, ID: 2, Commit: oid(3), Hash: oid(1)},
		observation{Object: ref, What: factMoved, Hash: oid(1), Commit: oid(3)})
	at(13, 14, head(2, 3))
	at(15, 16, observation{Object: chain, What: factUnknown, Commit: oid(4)},
		observation{Object: ref, What: factUnknown, Commit: oid(4)})
	at(17, 18, head(2, 3), observation{Object: ref, What: factRef, Hash: oid(4)})
	at(19, 22, observation{Object: chain, What: factPublished, ID: 4, Commit: oid(5), Hash: oid(4)},
		observation{Object: ref, What: factMoved, Hash: oid(4), Commit: oid(5)})
	at(23, 24, head(4, 5))
	at(25, 26, observation{Object: chain, What: factPublished, ID: 5, Commit: oid(6), Hash: oid(5)},
		observation{Object: ref, What: factMoved, Hash: oid(5), Commit: oid(6)})
	h.check(t)
	if told := h.checkCorrupted(t); told != len(corruptions) {
		t.Errorf("%d lies of %d were tried", told, len(corruptions))
	}

	// A ref that goes back, and a deploy without a push.
	for name, fact := range map[string]observation{
		"a ref that went back":         {Object: ref, What: factRef, Hash: oid(3)},
		"a deploy without a push":      {Object: chain, What: factHead, ID: 6, Hash: oid(2)},
		"an oid that stands for none":  {Object: chain, What: factHead, ID: 5, Hash: h.commits.full("abcdef0")},
		"a chain that lost its newest": {Object: chain, What: factHead, ID: 4, Hash: oid(5)},
	} {
		lie := h.clone()
		lie.operations = append(lie.operations, operation{Call: 30, Return: 31, Facts: []observation{fact}})
		if result, _, _ := lie.linearizable(isChain(fact.Object)); result != porcupine.Illegal {
			t.Errorf("%s: %s, want %s", name, result, porcupine.Illegal)
		}
	}
}
