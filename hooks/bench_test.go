package hooks_test

import (
	"strconv"
	"testing"
)

// BenchmarkHook runs the program that git runs as a hook: it starts, hands a ref that nothing is deployed from to the
// server's socket, and hears that it may move.
func BenchmarkHook(b *testing.B) {
	s := newSite(b, defaultTarget)
	laptop := s.user("laptop")
	head := s.commit("a.txt", "one\n")
	s.git(s.work, "push", "-q", s.bare, "main:refs/heads/there") // without hooks: the object is in the repository
	input := zero + " " + head + " refs/heads/x\n"
	for b.Loop() {
		b.StopTimer()
		session := laptop.begin()
		b.StartTimer()
		if status, said := runHook(b, "pre-receive", input, session.Env()...); status != 0 {
			b.Fatal(status, said)
		}
		b.StopTimer()
		session.End(b.Context())
		b.StartTimer()
	}
}

// BenchmarkPush is a whole push of one changed file, without a network: git's two ends, both hooks, the verdict, the
// intent and the deploy.
func BenchmarkPush(b *testing.B) {
	s := newSite(b, defaultTarget)
	laptop := s.user("laptop")
	s.commit("a.txt", "one\n")
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		s.commit("a.txt", strconv.Itoa(n))
		b.StartTimer()
		if r := laptop.push("main"); !r.ok {
			b.Fatal(r.said)
		}
	}
}
