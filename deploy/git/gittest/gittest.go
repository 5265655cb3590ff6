package gittest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy/tree"
)

// Repository is a bare repository that git itself has made. A git that fails ends the test.
type Repository struct {
	testing.TB
	Dir string   // its GIT_DIR
	Env []string // of every git
}

// New makes an empty repository, whose branch is main; args are given to git init.
func New(tb testing.TB, args ...string) *Repository {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "repo.git")
	r := &Repository{TB: tb, Dir: dir, Env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir(), "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_DIR=" + dir,
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_AUTHOR_DATE=1767225600 +0000",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org", "GIT_COMMITTER_DATE=1767225600 +0000",
	}}
	r.Git(append([]string{"init", "-q", "--bare", "--initial-branch=main"}, args...)...)
	return r
}

// With is the same repository with more environment variables.
func (r *Repository) With(env ...string) *Repository {
	return &Repository{TB: r.TB, Dir: r.Dir, Env: slices.Concat(r.Env, env)}
}

// Git runs git and gives its output without the line feed at its end.
func (r *Repository) Git(args ...string) string {
	r.Helper()
	return r.GitInput("", args...)
}

// GitInput is Git with a standard input.
func (r *Repository) GitInput(stdin string, args ...string) string {
	r.Helper()
	out, err := r.TryGit(stdin, args...)
	if err != nil {
		r.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSuffix(out, "\n")
}

// TryGit is GitInput of a git that may fail.
func (r *Repository) TryGit(stdin string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stderr = r.Env, strings.NewReader(stdin), &stderr
	if _, err := os.Stat(r.Dir); err == nil {
		cmd.Dir = r.Dir
	}
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}

// OID is the oid that git prints.
func (r *Repository) OID(args ...string) tree.OID {
	r.Helper()
	return OID(r.Git(args...))
}

// Blob stores a blob.
func (r *Repository) Blob(content string) tree.OID {
	r.Helper()
	return OID(r.GitInput(content, "-c", "core.compression=0", "hash-object", "-w", "--stdin"))
}

// Tree stores a tree of lines "mode type oid TAB name", as git ls-tree -z prints them.
func (r *Repository) Tree(lines ...string) tree.OID {
	r.Helper()
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l + "\x00")
	}
	return OID(r.GitInput(b.String(), "mktree", "-z", "--missing"))
}

// RawTree stores any bytes as a tree, without git's checks.
func (r *Repository) RawTree(raw string) tree.OID {
	r.Helper()
	return OID(r.GitInput(raw, "hash-object", "-t", "tree", "--literally", "-w", "--stdin"))
}

// CommitTree stores a commit of a tree.
func (r *Repository) CommitTree(root tree.OID, message string, parents ...tree.OID) tree.OID {
	r.Helper()
	args := []string{"commit-tree", root.String(), "-m", message}
	for _, p := range parents {
		args = append(args, "-p", p.String())
	}
	return r.OID(args...)
}

// File is a file of a commit.
type File struct {
	Mode    string // "" is 100644; of a submodule, 160000, the content is its commit's oid
	Content string
}

// Commit stores a commit that has exactly these files, by path, and moves main to it.
func (r *Repository) Commit(message string, all map[string]File, parents ...tree.OID) tree.OID {
	r.Helper()
	var b strings.Builder
	if len(parents) == 0 { // else fast-import would go on from the branch
		b.WriteString("reset refs/heads/main\n\n")
	}
	b.WriteString("commit refs/heads/main\nauthor Ada <ada@example.org> 1767225600 +0000\n" +
		"committer Ada <ada@example.org> 1767225600 +0000\n")
	fmt.Fprintf(&b, "data %d\n%s\n", len(message), message)
	for i, parent := range parents {
		fmt.Fprintf(&b, "%s %s\n", []string{"from", "merge"}[min(i, 1)], parent)
	}
	b.WriteString("deleteall\n")
	for _, path := range slices.Sorted(maps.Keys(all)) {
		switch f := all[path]; f.Mode {
		case "160000":
			fmt.Fprintf(&b, "M 160000 %s %s\n", f.Content, quote(path))
		case "":
			fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", quote(path), len(f.Content), f.Content)
		default:
			fmt.Fprintf(&b, "M %s inline %s\ndata %d\n%s\n", f.Mode, quote(path), len(f.Content), f.Content)
		}
	}
	r.GitInput(b.String(), "-c", "core.compression=0", "fast-import", "--quiet", "--force")
	return r.OID("rev-parse", "refs/heads/main")
}

// quote writes a path for fast-import: in C's style, with octal digits for what might have a meaning.
func quote(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(path) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, "\\%03o", c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ManyFiles stores n files d<i/1000>/f<i> of size bytes each in one commit, and gives the blobs in order.
func (r *Repository) ManyFiles(n, size int) (commit tree.OID, blobs []tree.OID) {
	r.Helper()
	all := make(map[string]File, n)
	for i := range n {
		content := Content(i, size)
		all[fmt.Sprintf("d%d/f%d", i/1000, i)] = File{Content: content}
		blobs = append(blobs, BlobOID(content))
	}
	return r.Commit("many", all), blobs
}

// Content is what ManyFiles has in its file i: size bytes that differ from file to file and compress little.
func Content(i, size int) string {
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

// Line stores n commits without files on a branch, each the parent of the next, the first one's parent is from, which
// may be zero; the oldest comes first.
func (r *Repository) Line(branch string, n int, from tree.OID) []tree.OID {
	r.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "commit refs/heads/%s\ncommitter C <c@example.com> %d +0000\ndata <<END\n%s %d\nEND\n",
			branch, 1700000000+i, branch, i)
		if i == 0 && !from.IsZero() {
			fmt.Fprintf(&b, "from %s\n", from)
		}
		b.WriteString("\n")
	}
	r.GitInput(b.String(), "fast-import", "--quiet")
	var oids []tree.OID
	list := r.Git("rev-list", "--reverse", "--first-parent", fmt.Sprintf("--max-count=%d", n), "refs/heads/"+branch)
	for _, s := range strings.Fields(list) {
		oids = append(oids, OID(s))
	}
	return oids
}

// OID parses an oid that is known to be one.
func OID(digits string) tree.OID {
	oid, err := tree.ParseOID(digits)
	if err != nil {
		panic(err)
	}
	return oid
}

// BlobOID is the oid of a blob.
func BlobOID(content string) tree.OID { return tree.HashObject("blob", []byte(content)) }

// EqualOIDs is for go-cmp, which does not look into an oid.
var EqualOIDs = cmpopts.EquateComparable(tree.OID{})
