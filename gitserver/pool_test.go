package gitserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// isGranted tells whether the command that asked for a turn may run.
func (t *turn) isGranted() bool {
	select {
	case <-t.granted:
		return true
	default:
		return false
	}
}

func (p *pool) waiters() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

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
		p := newPool("push", "pushes", c.size)
		var all []*turn
		for k, want := range c.want {
			got := 0
			for range c.size {
				asked := p.request(fmt.Sprint(k))
				if all = append(all, asked); asked.isGranted() {
					got++
				}
			}
			if got != want {
				t.Errorf("of %d: key %d got %d, want %d", c.size, k, got, want)
			}
		}
		for _, one := range all {
			p.giveBack(one)
		}
		empty(t, p)
	}
}

func empty(t interface{ Errorf(string, ...any) }, p *pool) {
	if p.used != 0 || len(p.held) != 0 || len(p.waiting) != 0 {
		t.Errorf("left: %d turns, %v, %d waiting", p.used, p.held, len(p.waiting))
	}
}

// poolModel is the rule as its words say it: who asked, in this order, and who of them has a turn.
type poolModel struct {
	size  int
	asked []*turn
	given map[*turn]bool
}

func (m *poolModel) may(key string) bool {
	mine := 0
	for t := range m.given {
		if t.key == key {
			mine++
		}
	}
	return mine < m.size-len(m.given)
}

// settle gives the first who may go a turn, and looks again from the beginning.
func (m *poolModel) settle() {
	for {
		i := slices.IndexFunc(m.asked, func(t *turn) bool { return !m.given[t] && m.may(t.key) })
		if i < 0 {
			return
		}
		m.given[m.asked[i]] = true
	}
}

// TestPoolRule: whatever happens in whatever order, turns are with those who should have them: never more than there are,
// never over half with one key, nobody waits who may go, the first of those that may goes first.
func TestPoolRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 12).Draw(t, "size")
		p := newPool("push", "pushes", size)
		m := &poolModel{size: size, given: map[*turn]bool{}}
		end := func(i int) {
			one := m.asked[i]
			p.giveBack(one)
			m.asked = slices.Delete(m.asked, i, i+1)
			delete(m.given, one)
		}
		check := func() {
			m.settle()
			keys := map[string]int{}
			waiting := 0
			for i, one := range m.asked {
				if one.isGranted() != m.given[one] {
					t.Fatalf("number %d, of %s: has a turn: %t, should: %t", i, one.key, one.isGranted(), m.given[one])
				}
				switch {
				case one.isGranted():
					keys[one.key]++
				case m.may(one.key):
					t.Fatalf("number %d, of %s, waits and may go", i, one.key)
				default:
					waiting++
				}
			}
			for key, n := range keys {
				if n > (size+1)/2 {
					t.Fatalf("%s has %d of %d", key, n, size)
				}
			}
			if len(m.given) > size || p.used != len(m.given) || len(p.waiting) != waiting || len(p.held) != len(keys) {
				t.Fatalf("%d of %d turns are given; the pool has %d, %v, %d waiting", len(m.given), size, p.used, p.held, len(p.waiting))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				m.asked = append(m.asked, p.request(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key")))
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
	p := newPool("push", "pushes", size)
	var running atomic.Int64
	var all sync.WaitGroup
	for k := range keys {
		for range each {
			all.Go(func() {
				one := p.request(fmt.Sprint(k))
				if rand.IntN(4) == 0 {
					p.giveBack(one) // given or not
					return
				}
				<-one.granted
				if n := running.Add(1); n > size {
					t.Errorf("%d run at a time", n)
				}
				running.Add(-1)
				p.giveBack(one)
			})
		}
	}
	all.Wait()
	empty(t, p)
}

func TestPoolSaysWhy(t *testing.T) {
	p := newPool("fetch", "fetches", 2)
	p.request("a")
	if got, want := p.waitsFor("a"), "your key runs 1 of at most 2 fetches, and what is free is kept for other keys"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.request("b")
	if got, want := p.waitsFor("a"), "the server runs 2 fetches, as many as it does at a time"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
