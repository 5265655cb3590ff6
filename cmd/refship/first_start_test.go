package main

// What a user gains from these tests: a machine that goes down during the very first start costs a start, and nothing
// else.

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestKilledInItsFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	w.serve("")
	took := time.Since(began)
	w.stop()
	killFirstStarts(w, 6, took)
}

// BenchmarkFirstStart is the long form: 500 kills within the first second.
func BenchmarkFirstStart(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		killFirstStarts(w, 500, time.Second)
	}
}

// killFirstStarts kills first starts at random, within a time: every other time the first of all, which finds no data
// directory, else one that finds a key and a repository and no etcd. What is then in the data directory must be served
// by the next start that is left alone, however often that was killed, too.
func killFirstStarts(w *world, kills int, within time.Duration) {
	w.Helper()
	random := rand.New(rand.NewPCG(12, 1))
	anew := 0
	for killed, bare := 0, true; killed < kills; bare = !bare {
		gone := "data/etcd"
		if bare {
			gone = "data"
		}
		if err := os.RemoveAll(w.in(gone)); err != nil {
			w.Fatal(err)
		}
		for range 1 + random.IntN(2) {
			w.killStart(time.Duration(random.Int64N(int64(within))))
			killed++
		}
		w.serve("")
		if strings.Contains(w.server.text(), "first start was broken off") {
			anew++
		}
		w.stop()
		if bare {
			w.furnish()
		}
	}
	w.serve("")
	w.commit("after "+w.Name(), 1)
	if err := w.push(); err != nil {
		w.Error(err)
	}
	w.agree("the end")
	w.stop()
	w.Logf("%d first starts were killed within %s; what they left was made anew %d times", kills, within, anew)
	if kills > 100 && anew == 0 {
		w.Error("no kill has left anything to be made anew")
	}
}

// killStart starts the server and kills it after a time.
func (w *world) killStart(after time.Duration) {
	w.Helper()
	cmd := exec.Command(w.program("refship"), "serve", "--listen", "127.0.0.1:0")
	cmd.Env = w.env
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	time.Sleep(after) // the moment is what this is about
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
