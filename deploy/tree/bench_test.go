package tree_test

import (
	"crypto/sha256"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy/tree"
)

// BenchmarkBlobs reads 20,000 files of 9.8 KB (196 MB): beside git alone, writing to a pipe that nobody hashes, and
// beside go-git's own storage.
func BenchmarkBlobs(b *testing.B) {
	const count, size = 20_000, 9_800
	g := newGitRepo(b)
	_, oids := g.files(count, size)
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
			o := tree.HashBlob(size)
			o.Write(buf[:size])
			o.Sum(nil)
			return err
		})
	})
	b.Run("Sizes", func(b *testing.B) {
		r := g.open()
		for b.Loop() {
			if _, err := r.Sizes(b.Context(), oids); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("git", func(b *testing.B) {
		var in strings.Builder
		for _, oid := range oids {
			in.WriteString(oid.String() + "\n")
		}
		b.SetBytes(int64(len(oids)) * size)
		for b.Loop() {
			cmd := exec.Command("sh", "-c", "git cat-file --batch --buffer | cat >/dev/null")
			cmd.Env, cmd.Stdin = g.env, strings.NewReader(in.String())
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("go-git", func(b *testing.B) {
		repo, err := git.PlainOpen(g.dir)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(oids)) * size)
		for b.Loop() {
			for _, oid := range oids {
				o, err := repo.BlobObject(plumbing.Hash(oid.Bytes()))
				if err != nil {
					b.Fatal(err)
				}
				r, err := o.Reader()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r, buf[:size]); err != nil {
					b.Fatal(err)
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func benchBlobs(b *testing.B, g *gitRepo, oids []tree.OID, size int64, fn func(size int64, r io.Reader) error) {
	b.Helper()
	r := g.open()
	b.SetBytes(int64(len(oids)) * size)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Blobs(b.Context(), oids, func(_ int, size int64, rd io.Reader) error { return fn(size, rd) }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is what a push pays for: open, one commit, close.
func BenchmarkOpen(b *testing.B) {
	g := newGitRepo(b)
	commit := g.commit(g.tree(), "one")
	for b.Loop() {
		r, err := tree.OpenRepository(b.Context(), g.dir, nil)
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
	g := newGitRepo(b)
	c := g.line("main", 1200, tree.OID{})
	r := g.open()
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
