package admit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestPoolParts: what each key gets that wants all, one after the other.
func TestPoolParts(t *testing.T) {
	for _, c := range []struct {
		size int
		want []int
	}{
		{128, []int{64, 32, 16, 8, 4, 2, 1, 1, 0}},
		{8, []int{4, 2, 1, 1, 0}},
		{5, []int{3, 1, 1, 0}},
		{2, []int{1, 1, 0}},
		{1, []int{1, 0}},
	} {
		const each = 3
		p := NewPool("push", "pushes", int64(each*c.size))
		var all []*Turn
		for k, want := range c.want {
			got := 0
			for range c.size {
				asked := p.Request(fmt.Sprint(k), each)
				if all = append(all, asked); asked.Granted() {
					got++
				}
			}
			if got != want {
				t.Errorf("of %d: key %d got %d, want %d", c.size, k, got, want)
			}
		}
		for _, one := range all {
			one.GiveBack()
		}
		empty(t, p)
	}
}

func empty(t interface{ Errorf(string, ...any) }, p *Pool) {
	if p.used != 0 || len(p.held) != 0 || len(p.waiting) != 0 {
		t.Errorf("left: %d turns, %v, %d waiting", p.used, p.held, len(p.waiting))
	}
}

// poolModel is the rule as its words say it: who asked, in this order, and who of them has a turn.
type poolModel struct {
	size  int64
	asked []*Turn
	given map[*Turn]bool
}

// taken is what all have, and what a key has.
func (m *poolModel) taken(key string) (all, mine int64) {
	for t := range m.given {
		all += t.size
		if t.key == key {
			mine += t.size
		}
	}
	return all, mine
}

func (m *poolModel) may(t *Turn) bool {
	all, mine := m.taken(t.key)
	return mine+t.size <= m.size-all
}

// giveTurns gives the first that may go a turn, and looks again from the beginning.
func (m *poolModel) giveTurns() {
	for {
		i := slices.IndexFunc(m.asked, func(t *Turn) bool { return !m.given[t] && m.may(t) })
		if i < 0 {
			return
		}
		m.given[m.asked[i]] = true
	}
}

// TestPoolRule: after any steps in any order, there are never more turns than there are places, no key has over half of
// them, no turn waits that may be given, and the first of those that may is given first.
func TestPoolRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 12).Draw(t, "size")
		p := NewPool("push", "pushes", size)
		m := &poolModel{size: size, given: map[*Turn]bool{}}
		end := func(i int) {
			one := m.asked[i]
			one.GiveBack()
			m.asked = slices.Delete(m.asked, i, i+1)
			delete(m.given, one)
		}
		check := func() {
			m.giveTurns()
			keys := map[string]int64{}
			waiting := 0
			for i, one := range m.asked {
				if one.Granted() != m.given[one] {
					t.Fatalf("number %d, of %s: has a turn: %t, should: %t", i, one.key, one.Granted(), m.given[one])
				}
				switch {
				case one.Granted():
					keys[one.key] += one.size
				case m.may(one):
					t.Fatalf("number %d, of %s, waits and may go", i, one.key)
				default:
					waiting++
				}
			}
			for key, n := range keys {
				if turns := p.held[key].turns; turns > 1 && 2*n > size+3 { // of which the last was 3 at most
					t.Fatalf("%s has %d of %d", key, n, size)
				}
			}
			if all, _ := m.taken(""); all > size || p.used != all || len(p.waiting) != waiting || len(p.held) != len(keys) {
				t.Fatalf("%d of %d are given; the pool has %d, %v, %d waiting", all, size, p.used, p.held,
					len(p.waiting))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				m.asked = append(m.asked,
					p.Request(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key"),
						rapid.Int64Range(1, min(3, size)).Draw(t, "of size")))
			},
			"give back": func(t *rapid.T) {
				if len(m.asked) == 0 {
					t.Skip("nobody has asked")
				}
				end(rapid.IntRange(0, len(m.asked)-1).Draw(t, "which"))
			},
			"": func(*rapid.T) { check() },
		})
		for len(m.asked) > 0 {
			end(rapid.IntRange(0, len(m.asked)-1).Draw(t, "last"))
			check()
		}
		empty(t, p)
	})
}

// TestPoolAtOnce: everybody who waits gets a turn in the end, and some leave before.
func TestPoolAtOnce(t *testing.T) {
	const size, keys, each = 8, 6, 300
	p := NewPool("push", "pushes", size)
	var running atomic.Int64
	var all sync.WaitGroup
	for k := range keys {
		for range each {
			all.Go(func() {
				one := p.Request(fmt.Sprint(k), 1)
				if rand.IntN(4) == 0 {
					one.GiveBack() // given or not
					return
				}
				<-one.granted
				if n := running.Add(1); n > size {
					t.Errorf("%d run at a time", n)
				}
				running.Add(-1)
				one.GiveBack()
			})
		}
	}
	all.Wait()
	empty(t, p)
}

func TestPoolSaysWhy(t *testing.T) {
	p := NewPool("fetch", "fetches", 2)
	p.Request("a", 1)
	waits := p.Request("a", 1)
	if got, want := waits.waitsFor(),
		"the server works on 1 fetch of your key, and what is free is kept for other keys"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.Request("b", 1)
	if got, want := waits.waitsFor(),
		"the server works on 2 fetches, as many as its memory for git allows at a time"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
