package deploy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

const (
	namespace = "/refship/config"
	own       = namespace + "/refship/"
)

// setup is one chain in a real etcd and one real git repository.
type setup struct {
	testing.TB
	client *clientv3.Client
	tap    *tap // between client and etcd
	store  *deploy.Store
	chain  *deploy.Chain // of store
	repo   gitRepo
	signer ssh.Signer
	opened *git.Repository
	path   string // of every job
	mgmts  bool   // every job is for mgmt, and can follow a foreign deploy
}

func newSetup(t testing.TB) *setup {
	return newSetupOn(t, fixture.NewEtcd(t).Client())
}

func newSetupOn(t testing.TB, client *clientv3.Client) *setup {
	f := &setup{TB: t, client: client, repo: newGitRepo(t), signer: fixture.Signer(1)}
	f.tap = &tap{KV: client.KV}
	client.KV = f.tap
	f.store = f.newStore()
	f.chain = f.store.Chain(namespace)
	return f
}

// newStore makes a Store as another process has it.
func (f *setup) newStore() *deploy.Store { return f.newStoreFor(time.Minute) }

func (f *setup) newStoreFor(ttl time.Duration) *deploy.Store {
	s := deploy.NewStore(f.client, deploy.Config{LeaseTTL: ttl, Log: discard()})
	f.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(f.Context())); err != nil {
			f.Errorf("close store: %v", err)
		}
	})
	return s
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// gitRepo is a bare repository, driven by git itself.
type gitRepo struct{ *fixture.Repository }

func newGitRepo(t testing.TB) gitRepo { return gitRepo{fixture.NewRepository(t)} }

func (r gitRepo) run(stdin []byte, args ...string) []byte {
	r.Helper()
	return []byte(r.GitInput(string(stdin), args...))
}

// files are a tree's files by path: content, with a mode where it is not 100644.
type files map[string]file

type file struct {
	mode    string // "" is 100644; "160000" has a commit's oid as content
	content string
}

func regular(content string) file { return file{content: content} }

// commit makes a commit that holds exactly these files. No parents: a root.
func (r gitRepo) commit(message string, all files, parents ...tree.OID) tree.OID {
	r.Helper()
	named := make(map[string]fixture.File, len(all))
	for path, f := range all {
		named[path] = fixture.File{Mode: f.mode, Content: f.content}
	}
	return r.Commit(message, named, parents...)
}

// commitTree makes a commit of a tree.
func (r gitRepo) commitTree(root tree.OID, parents ...tree.OID) tree.OID {
	r.Helper()
	return r.CommitTree(root, "a commit", parents...)
}

// mktree makes a tree of lines "<mode> <type> <oid>\t<name>", NUL after each.
func (r gitRepo) mktree(lines string) tree.OID {
	r.Helper()
	return fixture.OID(r.GitInput(lines, "mktree", "-z", "--missing"))
}

func (f *setup) open() *git.Repository {
	f.Helper()
	if f.opened == nil {
		f.opened = f.openRepo(f.repo)
	}
	return f.opened
}

func (f *setup) openRepo(r gitRepo) *git.Repository {
	f.Helper()
	repo, err := git.OpenRepository(f.Context(), r.Dir, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = repo.Close() })
	return repo
}

func (f *setup) job(commit tree.OID) *deploy.Job {
	f.Helper()
	frontend := record.Files
	if f.mgmts {
		frontend = record.Empty
	}
	return &deploy.Job{
		Kind: record.KindPush, Repo: f.open(), Commit: commit, Path: f.path, Frontend: frontend,
		Repository: "config", Target: "default", Ref: "refs/heads/main",
		Pusher: record.Pusher{Name: "ada", Key: "SHA256:x", Via: "ssh"}, Server: "host", Signer: f.signer,
	}
}

var holder = record.Holder{User: "ada", Repository: "config", Ref: "refs/heads/main", Host: "host",
	Server: "SHA256:server"}

func quiet(text.Progress) {}

func (f *setup) do(job *deploy.Job) (*record.Deploy, bool, error) {
	return f.chain.Do(f.Context(), holder, job, 10*time.Second, quiet)
}

// deploy publishes a commit and reads it back.
func (f *setup) deploy(commit tree.OID) *record.Deploy {
	f.Helper()
	d, already, err := f.do(f.job(commit))
	if err != nil || already {
		f.Fatalf("deploy %s: already %t, %v", commit, already, err)
	}
	back := f.get(d.ID)
	if !bytes.Equal(back.RecordBytes, d.RecordBytes) || !bytes.Equal(back.Signature, d.Signature) {
		f.Fatalf("stored record %s, published %s", back.RecordBytes, d.RecordBytes)
	}
	return back
}

func (f *setup) get(id record.ID) *record.Deploy {
	f.Helper()
	d, err := f.chain.Get(f.Context(), id)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// prepare takes the lock and prepares a job.
func (f *setup) prepare(job *deploy.Job) (*deploy.Prepared, *deploy.Lock) {
	f.Helper()
	lock, err := f.chain.Lock(f.Context(), holder, 0, noWait)
	if err != nil {
		f.Fatal(err)
	}
	p, err := f.chain.Prepare(f.Context(), lock, job, quiet)
	if err != nil {
		f.Fatal(err)
	}
	return p, lock
}

func noWait(record.Holder, time.Duration) {}

// put writes a key behind the chain's back.
func (f *setup) put(key, value string) {
	f.Helper()
	if _, err := f.tap.KV.Put(f.Context(), key, value); err != nil {
		f.Fatal(err)
	}
}

func (f *setup) delete(key string) {
	f.Helper()
	if _, err := f.tap.KV.Delete(f.Context(), key); err != nil {
		f.Fatal(err)
	}
}

// value reads a key, "" if it is not there.
func (f *setup) value(key string) string {
	f.Helper()
	resp, err := f.tap.KV.Get(f.Context(), key)
	if err != nil {
		f.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// dump gives every key with its value.
func (f *setup) dump() map[string]string {
	f.Helper()
	return fixture.Dump(f.TB, f.tap.KV)
}

// sameAsGit checks that a deploy reads back as git has it: a checkout against git archive, the list against
// git ls-tree, every content against its oid.
func (f *setup) sameAsGit(d *record.Deploy) {
	f.Helper()
	f.sameCheckout(d)
	rev := string(d.Hash) + ":" + d.Record.Path
	var list []string
	err := f.chain.List(f.Context(), d, "", true, func(path string, e tree.Entry) error {
		kind := "blob"
		if e.Mode.String() == "0160000" {
			kind = "commit"
		}
		list = append(list, fmt.Sprintf("%06o %s %s\t%s", uint32(e.Mode), kind, e.OID, path))
		if kind == "commit" {
			return nil
		}
		h := tree.HashBlob(e.OID.Format(), e.Size)
		sum := sha256.New()
		if err := f.chain.Cat(f.Context(), d, writers{h, sum}, path); err != nil {
			return err
		}
		if h.OID() != e.OID || tree.SHA256(sum.Sum(nil)) != e.SHA256 {
			f.Errorf("cat %q: other bytes than blob %s", path, e.OID)
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	var want []string
	if out := strings.TrimSuffix(string(f.repo.run(nil, "ls-tree", "-r", "-z", rev)), "\x00"); out != "" {
		want = strings.Split(out, "\x00")
	}
	slices.Sort(list)
	slices.Sort(want)
	if diff := cmp.Diff(want, list); diff != "" {
		f.Errorf("list of deploy %d (-git +deploy):\n%s", d.ID, diff)
	}
}

type writers []interface{ Write([]byte) (int, error) }

func (w writers) Write(b []byte) (int, error) {
	for _, one := range w {
		if _, err := one.Write(b); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (f *setup) sameCheckout(d *record.Deploy) {
	f.Helper()
	scratch := f.TempDir()
	dir := filepath.Join(scratch, "out")
	if err := f.chain.Checkout(f.Context(), d, dir, quiet); err != nil {
		f.Fatal(err)
	}
	git := filepath.Join(scratch, "git")
	if err := os.Mkdir(git, 0o755); err != nil {
		f.Fatal(err)
	}
	tar := exec.Command("tar", "-x", "-C", git)
	tar.Stdin = bytes.NewReader(f.repo.run(nil, "archive", "--format=tar", string(d.Hash)+":"+d.Record.Path))
	if out, err := tar.CombinedOutput(); err != nil {
		f.Fatalf("tar: %v\n%s", err, out)
	}
	if diff := cmp.Diff(manifest(f, git), manifest(f, dir)); diff != "" {
		f.Errorf("checkout of deploy %d (-git archive +checkout):\n%s", d.ID, diff)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 2 {
		f.Errorf("checkout left %v, %v", left, err)
	}
	_ = os.RemoveAll(scratch) // soon: 20 runs of all tests would fill the disk
}

// manifest tells what is in a directory: kind, executable or not, sha256 of contents, links' targets.
func manifest(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case e.IsDir():
			all[name] = "directory"
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			all[name] = "link to " + target
		default:
			info, err := e.Info()
			if err != nil {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[name] = fmt.Sprintf("%s executable %t %x", e.Type(), info.Mode()&0o111 == 0o111, sha256.Sum256(content))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantError checks an error's type, its text and its hint; "" takes any text.
func wantError[T error](t testing.TB, err error, message, hint string) T {
	t.Helper()
	var typed T
	if !errors.As(err, &typed) {
		t.Fatalf("got %T %v, want %T", err, err, typed)
	}
	if !strings.Contains(err.Error(), message) {
		t.Errorf("error %q, want %q in it", err, message)
	}
	if said := fixture.Advice(err); said == "" || !strings.Contains(said, hint) {
		t.Errorf("remedy %q, want %q in it", said, hint)
	}
	return typed
}

func sha256Hex(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func authorized(s ssh.Signer) string { return string(ssh.MarshalAuthorizedKey(s.PublicKey())) }

func (f *setup) writeFile(path, content string) {
	f.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		f.Fatal(err)
	}
}
