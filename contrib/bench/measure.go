package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// sample is what was measured of one thing in one run, in the unit that its key says.
type sample []float64

func (s sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// key names a sample.
type key struct {
	What string `json:"what"`           // such as "one file"
	Size string `json:"size,omitempty"` // of corpora
	Peer string `json:"peer,omitempty"`
	Unit string `json:"unit"` // ms, MB/s, KiB, MiB
}

// results are the samples of a run, in the order in which they came.
type results struct {
	keys    []key
	samples map[key]sample
}

func (r *results) add(k key, value float64) {
	if _, is := r.samples[k]; !is {
		r.keys = append(r.keys, k)
	}
	if r.samples == nil {
		r.samples = map[key]sample{}
	}
	r.samples[k] = append(r.samples[k], value)
}

// ms adds a time.
func (r *results) ms(what, size, peer string, took time.Duration) {
	r.add(key{what, size, peer, "ms"}, float64(took)/1e6)
}

// median gives a sample's median, and whether it was measured.
func (r *results) median(k key) (float64, bool) {
	s, is := r.samples[k]
	return s.median(), is
}

// sorted gives the keys of what was measured: in the order in which that began, and then by peer.
func (r *results) sorted() []key {
	began := map[key]int{}
	for i, k := range r.keys {
		if k.Peer = ""; began[k] == 0 {
			began[k] = i + 1
		}
	}
	of := func(k key) int {
		k.Peer = ""
		return began[k]
	}
	return slices.SortedFunc(slices.Values(r.keys), func(k, l key) int {
		return cmp.Or(cmp.Compare(of(k), of(l)), cmp.Compare(k.Peer, l.Peer))
	})
}

// order gives who takes turns in which order.
type order struct{ asked uint64 }

// turns gives the indexes 0 to n-1 in the order of a round. Each round begins with another one; the rest is shuffled
// anew each time, so that none always comes after the same one. Two runs have the same orders.
func (o *order) turns(n, round int) []int {
	o.asked++
	order := rand.New(rand.NewPCG(1, o.asked)).Perm(n) //nolint:gosec // an order that can be had again
	first := slices.Index(order, round%n)
	order[0], order[first] = order[first], order[0]
	return order
}
