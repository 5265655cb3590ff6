package tree_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"refship/deploy/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gitRepo is a real repository, made by running git.
type gitRepo struct {
	tb  testing.TB
	dir string // its GIT_DIR
	env []string
}

func newGitRepo(tb testing.TB, initArgs ...string) *gitRepo {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "repo.git")
	g := &gitRepo{tb: tb, dir: dir, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir(), "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_DIR=" + dir,
		"GIT_AUTHOR_NAME=A U Thor", "GIT_AUTHOR_EMAIL=author@example.com", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=C O Mitter", "GIT_COMMITTER_EMAIL=committer@example.com", "GIT_COMMITTER_DATE=1700000000 +0000",
	}}
	g.git("", append([]string{"init", "-q", "--bare", "--initial-branch=main"}, initArgs...)...)
	return g
}

// git runs git with stdin and gives its output; failure ends the test.
func (g *gitRepo) git(stdin string, args ...string) string {
	g.tb.Helper()
	out, err := g.try(stdin, args...)
	if err != nil {
		g.tb.Fatalf("git %q: %v", args, err)
	}
	return out
}

func (g *gitRepo) try(stdin string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stderr = g.env, strings.NewReader(stdin), &stderr
	if _, err := os.Stat(g.dir); err == nil {
		cmd.Dir = g.dir
	}
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}

// with is the same repository with more environment variables.
func (g *gitRepo) with(env ...string) *gitRepo {
	return &gitRepo{tb: g.tb, dir: g.dir, env: append(append([]string(nil), g.env...), env...)}
}

var sameOIDs = cmpopts.EquateComparable(tree.OID{})

func oidOf(digits string) tree.OID {
	oid, err := tree.ParseOID(digits)
	if err != nil {
		panic(err)
	}
	return oid
}

// blobOID is the oid of a blob.
func blobOID(content string) tree.OID {
	h := tree.HashBlob(int64(len(content)))
	h.Write([]byte(content))
	return tree.FromSHA1([20]byte(h.Sum(nil)))
}

func (g *gitRepo) oid(stdin string, args ...string) tree.OID {
	g.tb.Helper()
	return oidOf(strings.TrimSpace(g.git(stdin, args...)))
}

func (g *gitRepo) blob(content string) tree.OID {
	g.tb.Helper()
	return g.oid(content, "-c", "core.compression=0", "hash-object", "-w", "--stdin")
}

// tree writes a tree of lines "mode type oid TAB name", as git ls-tree -z prints them.
func (g *gitRepo) tree(lines ...string) tree.OID {
	g.tb.Helper()
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l + "\x00")
	}
	return g.oid(b.String(), "mktree", "-z", "--missing")
}

// rawTree writes any bytes as a tree, without git's checks.
func (g *gitRepo) rawTree(raw string) tree.OID {
	g.tb.Helper()
	return g.oid(raw, "hash-object", "-t", "tree", "--literally", "-w", "--stdin")
}

func rawEntry(mode, name string, oid tree.OID) string {
	return mode + " " + name + "\x00" + string(oid.Bytes())
}

func (g *gitRepo) commit(treeOID tree.OID, message string, parents ...tree.OID) tree.OID {
	g.tb.Helper()
	args := []string{"commit-tree", treeOID.String(), "-m", message}
	for _, p := range parents {
		args = append(args, "-p", p.String())
	}
	return g.oid("", args...)
}

func (g *gitRepo) open(env ...string) *tree.Repository {
	g.tb.Helper()
	r, err := tree.OpenRepository(context.Background(), g.dir, env)
	if err != nil {
		g.tb.Fatal(err)
	}
	g.tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			g.tb.Error(err)
		}
	})
	return r
}

// files imports n files d<i/1000>/f<i> of size bytes each in one commit and gives the blobs' oids in order.
func (g *gitRepo) files(n, size int) (commit tree.OID, blobs []tree.OID) {
	g.tb.Helper()
	var b strings.Builder
	b.WriteString("commit refs/heads/files\ncommitter C <c@example.com> 1700000000 +0000\ndata 0\n")
	for i := range n {
		content := fileContent(i, size)
		fmt.Fprintf(&b, "M 100644 inline d%d/f%d\ndata %d\n%s\n", i/1000, i, size, content)
		h := tree.HashBlob(int64(size))
		h.Write([]byte(content))
		blobs = append(blobs, tree.FromSHA1([20]byte(h.Sum(nil))))
	}
	g.git(b.String(), "fast-import", "--quiet")
	return g.oid("", "rev-parse", "--verify", "refs/heads/files"), blobs
}

// fileContent is size bytes that differ from file to file and compress little.
func fileContent(i, size int) string {
	b := make([]byte, size)
	x := uint64(i)*2654435761 + 88172645463325252
	for j := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[j] = byte(x)
	}
	return string(b)
}
