package main

// What a user gains from this test: a gc that dies at any moment, beside pushes and rollbacks, takes nothing that a kept
// deploy needs, and keeps nobody from pushing.

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var gcKills = flag.Int("gc.kills", 15, "how many times TestGCKilledAtRandom kills gc")

func TestGCKilledAtRandom(t *testing.T) {
	t.Parallel()
	const keepLast, pinned = 2, "2"
	w := newWorld(t)
	w.serve("")
	for _, name := range []string{"first", "pinned", "third"} {
		w.land(name)
	}
	w.must("refship", "keep", pinned)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := &killer{world: w, random: rand.New(rand.NewPCG(seed, 0))}
	flags := []string{"--keep-last", fmt.Sprint(keepLast), "--keep-within", "0"}
	k.undisturbed("gc", flags...)

	killed := make(chan struct{})
	defer func() { <-killed }()
	go func() {
		defer close(killed)
		k.killAtRandom(*gcKills, "gc", func(int) []string { return flags }, func([]string, error) {})
	}()
	head := w.landUntil(killed)
	isKept := func(id string) bool {
		var n int
		_, err := fmt.Sscan(id, &n)
		return err != nil || n > head-keepLast || id == pinned
	}
	w.agree("after the kills")
	expired := w.readBackKept(isKept)
	t.Logf("%d of %d deploys are expired", expired, head)
	if expired == 0 {
		t.Error("gc has taken nothing")
	}
	k.undisturbed("gc", flags...) // what the killed ones have left does not keep it from anything
	// The last but one is a rollback: what it went back to is whole with it.
	if after := w.readBackKept(isKept); after != head-keepLast-2 {
		t.Errorf("%d of %d deploys are expired, want all but the newest %d, the pinned one, and one more", after, head,
			keepLast)
	}
}

// landUntil pushes, rolls back and pushes again, until done is closed, and gives the head's id.
func (w *world) landUntil(done <-chan struct{}) (head int) {
	w.Helper()
	for n := 0; ; n++ {
		w.land(fmt.Sprintf("round %d", n))
		w.must("refship", "rollback", "head~1", "--reason", "broken")
		w.land(fmt.Sprintf("round %d again", n), "-o", "deploy.again="+w.head())
		select {
		case <-done:
			if _, err := fmt.Sscan(w.head(), &head); err != nil {
				w.Fatal(err)
			}
			return head
		default:
		}
	}
}

// land pushes a commit that changes some files.
func (w *world) land(message string, options ...string) {
	w.Helper()
	w.commit(message, 120)
	w.must("git", append(append([]string{"-C", w.in("work"), "push", "-q"}, options...), w.url, "main")...)
}

// head is the id of the chain's head.
func (w *world) head() string {
	w.Helper()
	return field(w.TB, w.must("refship", "log", "--json", "-n", "1"), "id")
}
