package git_test

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// quarantine puts a pack into a quarantine of a repository, as git receive-pack does, and gives its variables.
func quarantine(t testing.TB, g *fixture.Repository, pack string) []string {
	t.Helper()
	dir := filepath.Join(g.Dir, "objects", "tmp_objdir-incoming-"+filepath.Base(t.TempDir()))
	if err := os.MkdirAll(filepath.Join(dir, "pack"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	env := []string{"GIT_OBJECT_DIRECTORY=" + dir,
		"GIT_ALTERNATE_OBJECT_DIRECTORIES=" + filepath.Join(g.Dir, "objects")}
	g.With(env...).GitInput(pack, "index-pack", "--stdin", "--fix-thin", "--keep=push")
	return env
}

// edited is a line of commits, each of which edits a file of some kilobytes.
func edited(g *fixture.Repository, n int) (commits []git.OID) {
	text := fixture.Content(1, 4000)
	for i := range n {
		text += fmt.Sprintf("line %d\n", i)
		file := map[string]fixture.File{
			"dir/file": {Content: text}, "other": {Content: strings.Repeat("x", i)}, "same": {Content: "same"},
		}
		commits = append(commits, g.Commit(fmt.Sprint("commit ", i), file, commits[max(0, i-1):]...))
	}
	return commits
}

// TestPushed: what a small push has brought is read without a git, as git has it.
func TestPushed(t *testing.T) {
	for _, deltas := range []string{"--delta-base-offset", "--no-delta-base-offset"} {
		t.Run(deltas, func(t *testing.T) {
			from, to := fixture.NewRepository(t), fixture.NewRepository(t)
			commits := edited(from, 13)
			base, tip := commits[0], commits[12]
			to.GitInput(from.GitInput(base.String()+"\n", "pack-objects", "--revs", "--stdout", "-q"), "unpack-objects", "-q")
			pack := from.GitInput(tip.String()+"\n^"+base.String()+"\n", "pack-objects", "--revs", "--thin", "--stdout", "-q", deltas)
			repo, err := git.OpenRepository(t.Context(), to.Dir, quarantine(t, to, pack))
			if err != nil {
				t.Fatal(err)
			}
			defer repo.Close()
			between, err := repo.Between(t.Context(), base, tip, 10)
			if err != nil || !between.Related || len(between.Commits) != 10 || !between.More || between.Commits[0] != tip {
				t.Errorf("got %+v, %v", between, err)
			}
			for line := range strings.Lines(from.GitInput("", "rev-list", "--objects", tip.String(), "^"+base.String())) {
				digits, _, _ := strings.Cut(strings.TrimSpace(line), " ")
				oid := fixture.OID(digits)
				raw, err := repo.Raw(oid)
				kind := strings.TrimSpace(from.Git("cat-file", "-t", digits))
				if sum := sha1.Sum(raw); err != nil || hex.EncodeToString(sum[:]) != digits || !strings.HasPrefix(string(raw), kind) {
					t.Errorf("%s %s: %.20q, %v", kind, oid, raw, err)
				}
				if kind != "blob" {
					continue
				}
				err = repo.Blobs(t.Context(), []git.OID{oid}, func(_ int, size int64, r io.Reader) error {
					got, err := io.ReadAll(r)
					if string(raw) != fmt.Sprintf("blob %d\x00%s", size, got) {
						t.Errorf("blob %s: %.20q", oid, got)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
			if _, err := repo.Commit(between.Commits[3]); err != nil {
				t.Error(err)
			}
			if _, err := repo.Tree(tip); !errors.Is(err, git.ErrNotFound) {
				t.Errorf("a commit as a tree: %v", err)
			}
			if pid := repo.GitPID(); pid != 0 {
				t.Errorf("git %d was started", pid)
			}
			if _, err := repo.Commit(base); err != nil || repo.GitPID() == 0 {
				t.Errorf("what was there before is asked of git: %v", err)
			}
			if _, err := repo.Between(t.Context(), tip, base, 10); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPushedIsSmall: a pack that takes much memory, or is none, is git's to read.
func TestPushedIsSmall(t *testing.T) {
	bomb, _ := fixture.DeltaBomb(64)
	var zeros, large fixture.Pack
	zeros.Blob(strings.Repeat("x", 3<<20))
	for i := range 40 {
		large.Blob(fixture.Content(i, 8<<10))
	}
	for name, pack := range map[string][]byte{"delta bomb": bomb, "zlib bomb": zeros.Bytes(), "large": large.Bytes()} {
		t.Run(name, func(t *testing.T) {
			g := fixture.NewRepository(t)
			repo, err := git.OpenRepository(t.Context(), g.Dir, quarantine(t, g, string(pack)))
			if err != nil {
				t.Fatal(err)
			}
			defer repo.Close()
			if repo.GitPID() == 0 {
				t.Error("it was read without git")
			}
		})
	}
	t.Run("sha256", func(t *testing.T) {
		from, to := fixture.NewRepository(t, "--object-format=sha256"), fixture.NewRepository(t, "--object-format=sha256")
		pack := from.GitInput(edited(from, 3)[2].String()+"\n", "pack-objects", "--revs", "--stdout", "-q")
		repo, err := git.OpenRepository(t.Context(), to.Dir, quarantine(t, to, pack))
		if err != nil {
			t.Fatal(err)
		}
		defer repo.Close()
		if repo.GitPID() == 0 || repo.Format() != git.FormatSHA256 {
			t.Error("it was read without git")
		}
	})
}

// FuzzParsePack: whatever a pack has in it, it takes no more memory than a small push may.
func FuzzParsePack(f *testing.F) {
	g := fixture.NewRepository(f)
	list := edited(g, 5)[4].String() + "\n"
	for _, deltas := range []string{"--delta-base-offset", "--no-delta-base-offset"} {
		f.Add([]byte(g.GitInput(list, "pack-objects", "--revs", "--stdout", "-q", deltas)))
	}
	bomb, _ := fixture.DeltaBomb(1)
	f.Add(bomb)
	f.Fuzz(func(t *testing.T, pack []byte) {
		body := pack[:max(0, len(pack)-sha1.Size)]
		sum := sha1.Sum(body)
		if size, _ := git.ParsePack(append(body, sum[:]...)); size > 2<<20 {
			t.Errorf("%d bytes", size)
		}
	})
}
