package deploy_test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/tree"
)

// BenchmarkLarge deploys 20,000 files of 200 MB in 2,000 directories, and then one changed file on top of them; beside
// it in the same run what reading the same contents out of git costs by itself, and writing them one Put after another.
//
//	go test -run '^$' -bench Large -benchtime 3x ./deploy
func BenchmarkLarge(b *testing.B) {
	const count, size = 20_000, 10_000
	repo := newGitRepo(b)
	all := files{}
	pool := noise(count*7 + size)
	for i := range count {
		all[fmt.Sprintf("d%d/d%d/f%d", i%40, i%2000/40, i)] = regular(fmt.Sprintf("%d\n", i) + pool[i*7:i*7+size])
	}
	first := repo.commit("first", all)
	repo.Git("repack", "-adq", "--depth=0", "--window=0")
	changed := []tree.OID{first}
	for i := range 8 {
		all["d7/d3/f127"] = regular(fmt.Sprint("change ", i))
		changed = append(changed, repo.commit("one file", all, changed[i]))
	}
	oids := repo.run(nil, "ls-tree", "-r", "--format=%(objectname)", first.String())

	b.Run("cat-file", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command("git", "cat-file", "--batch", "--buffer")
			cmd.Dir, cmd.Stdin, cmd.Stdout = repo.Dir, bytes.NewReader(oids), io.Discard
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	start := func(b *testing.B) *setup {
		f := newSetupOn(b, fixture.NewEtcd(b).Client())
		f.repo = repo
		return f
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			f := start(b)
			f.open()
			b.StartTimer()
			f.deploy(first)
		}
	})
	b.Run("one file", func(b *testing.B) {
		f := start(b)
		f.deploy(first)
		next := 1
		for b.Loop() {
			if next == len(changed) {
				b.Fatalf("at most %d times", len(changed)-1)
			}
			f.deploy(changed[next])
			next++
		}
	})
	b.Run("batched puts", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			f := start(b)
			b.StartTimer()
			w := etcd.NewWriter(b.Context(), f.client)
			for path, file := range all {
				if err := w.Put("/b/"+path, []byte(file.content)); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Barrier(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("single puts", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			f := start(b)
			b.StartTimer()
			for path, file := range all {
				f.put("/n/"+path, file.content)
			}
		}
	})
}
