package deploy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/etcd/etcdtest"
	"refship/deploy/tree"
)

// fixture is one chain in a real etcd and one real git repository.
type fixture struct {
	testing.TB
	client *clientv3.Client
	chain  *deploy.Chain
	locker *deploy.Locker
	repo   gitRepo
	signer ssh.Signer
	opened *tree.Repository
}

func newFixture(t testing.TB) *fixture {
	client := etcdtest.New(t).Client()
	f := &fixture{TB: t, client: client, repo: newGitRepo(t), signer: newSigner(t)}
	f.chain = deploy.Open(client, "/refship/config", discard())
	f.locker = deploy.NewLocker(client, time.Minute)
	t.Cleanup(func() {
		if err := f.locker.Close(); err != nil {
			t.Errorf("close locker: %v", err)
		}
	})
	return f
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newSigner(t testing.TB) ssh.Signer {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// gitRepo is a repository with a work tree, driven by git itself.
type gitRepo struct {
	testing.TB
	dir string
}

func newGitRepo(t testing.TB) gitRepo {
	r := gitRepo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r gitRepo) git(args ...string) string {
	r.Helper()
	return strings.TrimSuffix(string(r.run(nil, args...)), "\n")
}

func (r gitRepo) run(stdin []byte, args ...string) []byte {
	r.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
		"GIT_AUTHOR_DATE=1767225600 +0000", "GIT_COMMITTER_DATE=1767225600 +0000",
	}
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.Fatalf("git %q: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

func (r gitRepo) write(name, content string) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.Fatal(err)
	}
}

// commit commits everything in the work tree.
func (r gitRepo) commit(message string) plumbing.Hash {
	r.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return plumbing.NewHash(r.git("rev-parse", "HEAD"))
}

func (f *fixture) open() *tree.Repository {
	f.Helper()
	if f.opened == nil {
		repo, err := tree.OpenRepository(f.Context(), filepath.Join(f.repo.dir, ".git"), nil)
		if err != nil {
			f.Fatal(err)
		}
		f.opened = repo
		f.Cleanup(func() { _ = repo.Close() })
	}
	return f.opened
}

func (f *fixture) job(commit plumbing.Hash) *deploy.Job {
	f.Helper()
	return &deploy.Job{
		Kind: deploy.KindPush, Repo: f.open(), Commit: commit, Frontend: deploy.Files,
		Repository: "config", Target: "default", Ref: "refs/heads/main",
		Pusher: deploy.Pusher{Name: "ada", Key: "SHA256:x", Via: "ssh"}, Server: "host", Signer: f.signer,
	}
}

var holder = deploy.Holder{User: "ada", Repository: "config", Ref: "refs/heads/main", Host: "host", Server: "SHA256:server"}

func (f *fixture) do(job *deploy.Job) (*deploy.Deploy, bool, error) {
	return f.chain.Do(f.Context(), f.locker, holder, job, time.Second, func(deploy.Progress) {})
}

// deploy publishes a commit and reads it back.
func (f *fixture) deploy(commit plumbing.Hash) *deploy.Deploy {
	f.Helper()
	d, already, err := f.do(f.job(commit))
	if err != nil || already {
		f.Fatalf("deploy %s: already %t, %v", commit, already, err)
	}
	back, err := f.chain.Get(f.Context(), d.ID)
	if err != nil {
		f.Fatal(err)
	}
	if !bytes.Equal(back.RecordBytes, d.RecordBytes) {
		f.Fatalf("stored record %s, published %s", back.RecordBytes, d.RecordBytes)
	}
	return back
}

// dump gives every key below a prefix with its value.
func dump(ctx context.Context, t testing.TB, client *clientv3.Client, prefix string) map[string]string {
	t.Helper()
	resp, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range resp.Kvs {
		all[string(kv.Key)] = string(kv.Value)
	}
	return all
}

// checkout checks a deploy out and compares it with what git itself writes for the commit.
func (f *fixture) sameAsGit(d *deploy.Deploy) {
	f.Helper()
	dir := filepath.Join(f.TempDir(), "out")
	if err := f.chain.Checkout(f.Context(), d, dir, func(deploy.Progress) {}); err != nil {
		f.Fatal(err)
	}
	git := f.TempDir()
	tar := exec.Command("tar", "-x", "-C", git)
	tar.Stdin = bytes.NewReader(f.repo.run(nil, "archive", "--format=tar", string(d.Hash)))
	if out, err := tar.CombinedOutput(); err != nil {
		f.Fatalf("tar: %v\n%s", err, out)
	}
	diff := exec.Command("diff", "-r", "--no-dereference", git, dir)
	if out, err := diff.CombinedOutput(); err != nil {
		f.Fatalf("diff: %v\n%s", err, out)
	}
}

func TestFirstDeployAndNext(t *testing.T) {
	f := newFixture(t)
	f.repo.write("a.txt", "one\n")
	f.repo.write("dir/sub/b.txt", "two\n")
	f.repo.write("dir/empty", "")
	if err := os.Symlink("../a.txt", filepath.Join(f.repo.dir, "dir/link")); err != nil {
		t.Fatal(err)
	}
	first := f.deploy(f.repo.commit("first"))
	f.sameAsGit(first)
	f.repo.write("dir/sub/b.txt", "three\n")
	second := f.deploy(f.repo.commit("second"))
	f.sameAsGit(second)
	f.sameAsGit(first)
	if second.ID != 2 || second.Record.PreviousHash != first.Hash || second.Record.Files != 4 {
		t.Errorf("second deploy is %s", second.RecordBytes)
	}
	if _, already, err := f.do(f.job(plumbing.NewHash(string(second.Hash)))); err != nil || !already {
		t.Errorf("the same again: already %t, %v", already, err)
	}
	_, _, err := f.do(f.job(plumbing.NewHash(string(first.Hash))))
	t.Log(err)
	var conflict *deploy.ConflictError
	if !asErr(err, &conflict) {
		t.Errorf("the first one again: %v", err)
	}
	if _, ok := dump(t.Context(), t, f.client, "/")["/refship/config/refship/lock"]; ok {
		t.Error("the lock is still there")
	}
	for k, v := range dump(t.Context(), t, f.client, "/") {
		t.Logf("%s = %.300q", k, v)
	}
	var b bytes.Buffer
	if err := f.chain.Cat(t.Context(), second, "dir/sub/b.txt", &b); err != nil || b.String() != "three\n" {
		t.Errorf("cat: %q, %v", b.String(), err)
	}
	if err := f.chain.Cat(t.Context(), second, "dir/sub/c.txt", io.Discard); err == nil {
		t.Error("cat of a missing file succeeded")
	}
}
