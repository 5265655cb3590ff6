package git_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/tree"
)

// BenchmarkBlobs reads 20,000 files of 9.8 KB (196 MB), beside git alone, whose output is thrown away.
func BenchmarkBlobs(b *testing.B) {
	const count, size = 20_000, 9_800
	g := fixture.NewRepository(b)
	_, oids := g.ManyFiles(count, size)
	buf := make([]byte, 64<<10)

	b.Run("Blobs", func(b *testing.B) {
		benchBlobs(b, g, oids, size, func(size int64, r io.Reader) error {
			_, err := io.ReadFull(r, buf[:size])
			return err
		})
	})
	b.Run("Blobs+sha256", func(b *testing.B) {
		h := sha256.New()
		benchBlobs(b, g, oids, size, func(size int64, r io.Reader) error {
			_, err := io.ReadFull(r, buf[:size])
			h.Reset()
			h.Write(buf[:size])
			h.Sum(nil)
			return err
		})
	})
	b.Run("Blobs+oid+sha256", func(b *testing.B) {
		h := sha256.New()
		benchBlobs(b, g, oids, size, func(size int64, r io.Reader) error {
			_, err := io.ReadFull(r, buf[:size])
			h.Reset()
			h.Write(buf[:size])
			h.Sum(nil)
			o := tree.HashBlob(tree.FormatSHA1, size)
			_, _ = o.Write(buf[:size])
			o.OID()
			return err
		})
	})
	b.Run("git", func(b *testing.B) {
		var in strings.Builder
		for _, oid := range oids {
			in.WriteString(oid.String() + "\n")
		}
		b.SetBytes(int64(len(oids)) * size)
		for b.Loop() {
			cmd := exec.Command("sh", "-c", "git cat-file --batch --buffer | cat >/dev/null")
			cmd.Env, cmd.Stdin = g.Env, strings.NewReader(in.String())
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchBlobs(b *testing.B, g *fixture.Repository, oids []git.OID, size int64, fn func(int64, io.Reader) error) {
	b.Helper()
	r := open(g)
	b.SetBytes(int64(len(oids)) * size)
	b.ReportAllocs()
	for b.Loop() {
		each := func(_ int, size int64, content io.Reader) error { return fn(size, content) }
		if err := r.Blobs(b.Context(), oids, each); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is what a push pays for: open, one commit, close.
func BenchmarkOpen(b *testing.B) {
	g := fixture.NewRepository(b)
	commit := g.CommitTree(g.Tree(), "one")
	for b.Loop() {
		r, err := git.OpenRepository(b.Context(), g.Dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Commit(commit); err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBetween walks the longest history that is walked, and asks git for one that is one longer.
func BenchmarkBetween(b *testing.B) {
	g := fixture.NewRepository(b)
	c := g.Line("main", 1200, git.OID{})
	r := open(g)
	for name, n := range map[string]int{"1": 1, "1000": 1000, "1001": 1001} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Between(b.Context(), c[len(c)-1-n], c[len(c)-1], 10_000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTrees reads 2,000 directories of ten entries each, together and one after the other.
func BenchmarkTrees(b *testing.B) {
	g := fixture.NewRepository(b)
	blob := g.Blob("x").String()
	var dirs []git.OID
	var all []string
	for i := range 2000 {
		var lines []string
		for k := range 10 {
			lines = append(lines, fmt.Sprintf("100644 blob %s\tf%d-%d", blob, i, k))
		}
		dirs = append(dirs, g.Tree(lines...))
		all = append(all, fmt.Sprintf("40000 tree %s\td%d", dirs[i], i))
	}
	g.Git("update-ref", "refs/heads/main", g.CommitTree(g.Tree(all...), "all").String())
	g.Git("repack", "-adq") // as pushes come
	r := open(g)
	b.Run("Trees", func(b *testing.B) {
		for b.Loop() {
			if err := r.Trees(b.Context(), dirs, func(int, []tree.Entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Tree", func(b *testing.B) {
		for b.Loop() {
			for _, oid := range dirs {
				if _, err := r.Tree(oid); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
