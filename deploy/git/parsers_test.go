package git_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/tree"
)

var formats = []tree.Format{tree.FormatSHA1, tree.FormatSHA256}

// ofFormat makes a repository of a format.
func ofFormat(t testing.TB, f tree.Format) *fixture.Repository {
	t.Helper()
	return fixture.NewRepository(t, "--object-format="+f.String())
}

// storeRaw stores bytes as objects of a type, without git's checks.
func storeRaw(g *fixture.Repository, typ string, raws []string) []git.OID {
	g.Helper()
	dir := g.TempDir()
	var paths strings.Builder
	for i, raw := range raws {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
			g.Fatal(err)
		}
		fmt.Fprintln(&paths, path)
	}
	var oids []git.OID
	for digits := range strings.FieldsSeq(g.GitInput(paths.String(), "hash-object", "-t", typ, "--literally", "-w",
		"--stdin-paths", "--no-filters")) {
		oids = append(oids, fixture.OID(digits))
	}
	return oids
}

// drawnCommit is a commit's bytes, and whether one of its lines names a tree or a parent where git reads none.
type drawnCommit struct {
	raw    string
	hidden bool
}

// drawCommit draws a commit that git reads, with whatever lines may be in a header.
func drawCommit(t *rapid.T, root git.OID, known []git.OID) drawnCommit {
	person := rapid.StringMatching(`[A-Za-zé.-]{1,8}( [A-Za-z]{1,8})? <[a-z@.]{1,12}> [0-9]{1,10} [+-]0[0-9]00`)
	parent := func() string { return "parent " + rapid.SampledFrom(known).Draw(t, "parent").String() + "\n" }
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", root)
	for range rapid.IntRange(0, 3).Draw(t, "parents") {
		b.WriteString(parent())
	}
	fmt.Fprintf(&b, "author %s\ncommitter %s\n", person.Draw(t, "author"), person.Draw(t, "committer"))
	c := drawnCommit{}
	for _, line := range rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "more") {
		switch line {
		case 0:
			b.WriteString("gpgsig -----BEGIN SSH SIGNATURE-----\n " + parent() + " \n -----END SSH SIGNATURE-----\n")
		case 1:
			b.WriteString("gpgsig-sha256 -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n")
		case 2:
			fmt.Fprintf(&b, "mergetag object %s\n type commit\n tag v1\n \n parent text\n", known[0])
		case 3:
			b.WriteString("x-of-our-own parent\n")
		case 4:
			b.WriteString(parent())
			c.hidden = true
		case 5:
			fmt.Fprintf(&b, "tree %s\n", root)
			c.hidden = true
		}
	}
	b.WriteString("\n" + rapid.StringMatching(`([a-z ]{1,10}\n){0,2}(parent [0-9a-f]{40}\n)?(tree x\n)?[a-zé]{1,10}\n`).
		Draw(t, "message"))
	c.raw = b.String()
	return c
}

// TestCommitsAreGits: tree, parents, author and message of any commit are those that git tells, in both formats. One
// that others than git could read as another commit is refused.
func TestCommitsAreGits(t *testing.T) {
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			g := ofFormat(t, f)
			r := open(g)
			root := g.Tree("100644 blob " + g.Blob("x").String() + "\tfile")
			known := g.Line("main", 3, git.OID{})
			rapid.Check(t, func(rt *rapid.T) {
				var all []drawnCommit
				var raws []string
				for range rapid.IntRange(1, 10).Draw(rt, "commits") {
					c := drawCommit(rt, root, known)
					all, raws = append(all, c), append(raws, c.raw)
				}
				oids := storeRaw(g, "commit", raws)
				var input strings.Builder
				for _, oid := range oids {
					fmt.Fprintln(&input, oid)
				}
				told := strings.Split(g.GitInput(input.String(), "log", "--no-walk=unsorted", "--stdin", "-z",
					"--format=%H%n%T%n%P%n%an <%ae>%n%B"), "\x00")
				says := map[string]string{}
				for _, one := range told {
					digits, rest, _ := strings.Cut(one, "\n")
					says[digits] = rest
				}
				for i, oid := range oids {
					sameCommit(rt, r, oid, all[i], says[oid.String()])
				}
			})
		})
	}
}

func sameCommit(t *rapid.T, r *git.Repository, oid git.OID, drawn drawnCommit, says string) {
	c, err := r.Commit(oid)
	parsed, parseErr := tree.ParseCommit([]byte(drawn.raw), oid.Format())
	if drawn.hidden {
		if err == nil || parseErr == nil {
			t.Fatalf("%q: got %+v, and no error", drawn.raw, c)
		}
		return
	}
	if err != nil || parseErr != nil {
		t.Fatalf("%q: %v, %v", drawn.raw, err, parseErr)
	}
	for _, got := range []*git.Commit{c, {
		Tree: parsed.Tree, Parents: parsed.Parents, Author: tree.Person(parsed.Author), Message: parsed.Message,
	}} {
		var parents []string
		for _, p := range got.Parents {
			parents = append(parents, p.String())
		}
		lines := got.Tree.String() + "\n" + strings.Join(parents, " ") + "\n" + got.Author + "\n" + got.Message
		if strings.TrimSuffix(lines, "\n") != strings.TrimSuffix(says, "\n") {
			t.Fatalf("%q:\ngot %q\ngit %q", drawn.raw, lines, says)
		}
	}
}

// TestTreesAndTagsAreGits: the entries of any tree, and the object of any tag, are those that git tells.
func TestTreesAndTagsAreGits(t *testing.T) {
	for _, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			g := ofFormat(t, f)
			r := open(g)
			oid := rapid.StringMatching(fmt.Sprintf("[1-9a-f][0-9a-f]{%d}", 2*f.Size()-1))
			mode := rapid.SampledFrom([]string{"100644 blob", "100755 blob", "120000 blob", "040000 tree", "160000 commit"})
			names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c.-]{1,3}é?`).Filter(func(s string) bool {
				return tree.CheckName(s) == nil
			}), 0, 8, rapid.ID[string])
			rapid.Check(t, func(rt *rapid.T) {
				var lines []string
				for _, name := range names.Draw(rt, "names") {
					lines = append(lines, mode.Draw(rt, "mode")+" "+oid.Draw(rt, "oid")+"\t"+name)
				}
				root := g.Tree(lines...)
				entries, err := r.Tree(root)
				if err != nil {
					rt.Fatal(err)
				}
				var got strings.Builder
				for _, e := range entries {
					kind := cmp.Or(map[filemode.FileMode]string{
						filemode.Submodule: "commit", filemode.Dir: "tree",
					}[e.Mode], "blob")
					fmt.Fprintf(&got, "%06o %s %s\t%s\x00", uint32(e.Mode), kind, e.OID, e.Name)
				}
				if want := g.Git("ls-tree", "-z", root.String()); got.String() != want {
					rt.Fatalf("got %q, git has %q", got.String(), want)
				}
				commit := g.CommitTree(root, "tagged")
				tag := storeRaw(g, "tag", []string{fmt.Sprintf("object %s\ntype commit\ntag %s\n\nobject x\n", commit,
					rapid.StringMatching("[a-z]{1,5}").Draw(rt, "tag"))})[0]
				_, at, err := r.Peel(t.Context(), tag)
				if err != nil || at.String() != g.Git("rev-parse", tag.String()+"^{commit}") {
					rt.Fatalf("peeled to %s, %v", at, err)
				}
			})
		})
	}
}

// TestOtherFormat: a repository has no object with a name of the other format, whatever git makes of the digits.
func TestOtherFormat(t *testing.T) {
	for i, f := range formats {
		t.Run(f.String(), func(t *testing.T) {
			g := ofFormat(t, f)
			own := g.CommitTree(g.Tree(), "own")
			// git takes 40 digits for the beginning of a SHA-256 oid, and any number of them for a branch's name.
			digits := strings.Repeat(own.String(), 2)[:2*formats[1-i].Size()]
			g.Git("update-ref", "refs/heads/"+digits, own.String())
			g.Git("update-ref", "refs/heads/"+(&tree.Node{}).OID(formats[1-i]).String(), own.String())
			r := open(g)
			if r.Format() != f {
				t.Errorf("format is %s", r.Format())
			}
			other := fixture.OID(digits)
			_, err := r.Commit(other)
			wantNotFound(t, err)
			_, err = r.Raw(other)
			wantNotFound(t, err)
			_, _, err = r.Peel(t.Context(), other)
			wantNotFound(t, err)
			wantNotFound(t, r.Trees(t.Context(), []git.OID{own, other}, nil))
			if _, err := r.Between(t.Context(), other, own, 1); !errors.Is(err, git.ErrUnknownCommit) {
				t.Error(err)
			}
			_, err = r.Between(t.Context(), own, other, 1)
			wantNotFound(t, err)
			if c, err := r.Commit(own); err != nil || c.Message != "own\n" {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

func wantNotFound(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, git.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
