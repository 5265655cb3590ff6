package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/report"
	"refship/hooks/status"
	"refship/hooks/target"
)

// watched is a server's hooks without its SSH, and what watches its repositories.
type watched struct {
	*testing.T
	client  *clientv3.Client
	repos   repos.Dir
	hooks   *hooks.Server
	watch   *refWatch
	metrics *metrics
	logged  bytes.Buffer // by watch
	commits int
}

func newWatched(t *testing.T) *watched {
	dir := fixture.ShortDir(t)
	program := filepath.Join(dir, "refship-hook") // no push runs it
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	log := fixture.Log(t)
	w := &watched{T: t, client: fixture.NewEtcd(t).Client(), repos: repos.Dir{Path: filepath.Join(dir, "repos")},
		metrics: newMetrics(etcd.RequestOps(), "v1", "")}
	w.watch = newRefWatch(w.repos, w.metrics.refsFailed, slog.New(slog.NewTextHandler(&w.logged, nil)))
	w.metrics.registry.MustRegister(w.watch)
	store := deploy.NewStore(w.client, deploy.Config{LeaseTTL: time.Minute, Log: log})
	t.Cleanup(func() { store.Close(context.WithoutCancel(t.Context())) })
	var err error
	w.hooks, err = hooks.NewServer(hooks.Config{
		Store: store, Host: "host", Dir: filepath.Join(dir, "run"), HookBinary: program, Log: log,
		Observe: func(r report.Report) { w.watch.changed(r.Repository) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.watch.hooks = w.hooks
	if err := os.Mkdir(w.repos.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watched) create(name string, targets ...string) *repos.Repository {
	w.Helper()
	var all []target.Target
	for _, one := range targets {
		all = append(all, target.Target{
			Name: one, Ref: "refs/heads/" + one, Namespace: record.Namespace("/" + name + "/" + one), Frontend: record.Files,
		})
	}
	repo, err := w.repos.Create(w.Context(), name, git.FormatSHA1, "refs/heads/main", all)
	if err != nil {
		w.Fatal(err)
	}
	return repo
}

// write replaces a repository's config.
func (w *watched) write(repo *repos.Repository, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(repo.Dir, "config"), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// move puts a branch on a commit of its own.
func (w *watched) move(repo *repos.Repository, branch string) {
	w.Helper()
	git := func(stdin string, args ...string) string {
		w.Helper()
		cmd := exec.CommandContext(w.Context(), "git",
			append([]string{"--git-dir", repo.Dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			w.Fatalf("git %q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	w.commits++
	commit := git(fmt.Sprintf("commit %d\n", w.commits), "commit-tree", git("", "mktree"))
	git("", "update-ref", "refs/heads/"+branch, commit)
}

// sees checks what the gauge has.
func (w *watched) sees(when string, want ...string) {
	w.Helper()
	var got []string
	for name, value := range values(w.T, w.metrics.registry, "refship_ref_ahead") {
		got = append(got, fmt.Sprint(strings.TrimPrefix(name, "refship_ref_ahead"), " ", value))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s: %s", when, diff)
	}
	for repository, targets := range w.watch.ahead {
		for target, value := range targets {
			if ahead, known := w.watch.isAhead(repository, target); !known || ahead != (value == 1) {
				w.Errorf("%s: %s of %s is ahead: %v, known: %v", when, target, repository, ahead, known)
			}
		}
	}
	if _, known := w.watch.isAhead("none", "none"); known {
		w.Errorf("%s: a repository that is not there is known", when)
	}
}

func (w *watched) failures() float64 {
	return values(w.T, w.metrics.registry, "refship_ref_checks_failed_total")["refship_ref_checks_failed_total{}"]
}

func TestRefWatch(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	ctx := t.Context()
	config := w.create("config", "main", "side")
	other := w.create("other", "main")
	w.create("store")
	w.watch.compareAll(ctx)
	w.sees("no ref", "{repository=config,target=main} 0", "{repository=config,target=side} 0",
		"{repository=other,target=main} 0")

	w.move(config, "main")
	w.move(other, "main")
	w.watch.compareAll(ctx)
	w.sees("refs that are not deployed", "{repository=config,target=main} 1", "{repository=config,target=side} 0",
		"{repository=other,target=main} 1")

	// What is deployed is looked at out of turn.
	who := record.Pusher{Name: "ops", Key: "SHA256:ops", Via: "ssh"}
	if err := w.hooks.Deploy(ctx, nil, "config", config.Dir, "", who, func(string) {}); err != nil {
		t.Fatal(err)
	}
	w.watch.compareDue(ctx)
	w.sees("deployed", "{repository=config,target=main} 0", "{repository=config,target=side} 0",
		"{repository=other,target=main} 1")
	w.move(config, "main")
	w.watch.compareAll(ctx)
	w.sees("moved past the server", "{repository=config,target=main} 1", "{repository=config,target=side} 0",
		"{repository=other,target=main} 1")
	if n := w.failures(); n != 0 {
		t.Errorf("%v failures", n)
	}

	// Where etcd is away everything stays as it was seen, and a round ends at the first look.
	kv := w.client.KV
	w.client.KV = downKV{kv}
	w.watch.compareAll(ctx)
	w.client.KV = kv
	w.sees("etcd is away", "{repository=config,target=main} 1", "{repository=config,target=side} 0",
		"{repository=other,target=main} 1")
	if n := w.failures(); n != 1 {
		t.Errorf("%v failures, want that of the first repository", n)
	}

	// Where one repository cannot be read, nothing is known of what is gone; it is told once, not in each round.
	text, err := os.ReadFile(filepath.Join(config.Dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.write(config, "[core\n")
		w.watch.compareAll(ctx)
		w.sees("a repository cannot be read", "{repository=config,target=main} 1", "{repository=config,target=side} 0",
			"{repository=other,target=main} 1")
		w.watch.compareAll(ctx)
		w.write(config, string(text))
		w.watch.compareAll(ctx)
	}
	if n := strings.Count(w.logged.String(), "level=WARN msg=\"some repositories cannot be listed"); n != 2 {
		t.Errorf("told %d times that some repositories cannot be listed, want 2:\n%s", n, &w.logged)
	}

	// What is gone has no series.
	if err := w.repos.RemoveTarget(ctx, "config", "side"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(other.Dir); err != nil {
		t.Fatal(err)
	}
	w.watch.compareAll(ctx)
	w.sees("a target and a repository are gone", "{repository=config,target=main} 1")
	w.watch.changed("other")
	w.watch.compareDue(ctx)
	w.sees("a repository that is gone was pushed to", "{repository=config,target=main} 1")
}

// downKV is an etcd that does not answer.
type downKV struct{ clientv3.KV }

func (downKV) Get(context.Context, string, ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return nil, context.DeadlineExceeded
}

func (downKV) Do(context.Context, clientv3.Op) (clientv3.OpResponse, error) {
	return clientv3.OpResponse{}, context.DeadlineExceeded
}

func (kv downKV) Txn(ctx context.Context) clientv3.Txn { return downTxn{kv.KV.Txn(ctx)} }

type downTxn struct{ clientv3.Txn }

func (t downTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { return downTxn{t.Txn.If(cs...)} }
func (t downTxn) Then(ops ...clientv3.Op) clientv3.Txn { return downTxn{t.Txn.Then(ops...)} }
func (t downTxn) Else(ops ...clientv3.Op) clientv3.Txn { return downTxn{t.Txn.Else(ops...)} }
func (downTxn) Commit() (*clientv3.TxnResponse, error) { return nil, context.DeadlineExceeded }

// A chain that goes on, and that the operator should look at, is told by /readyz?verbose.
func TestOddChains(t *testing.T) {
	head := &record.Deploy{ID: 7, Record: &record.Record{ID: 7, Time: time.Now().AddDate(3, 0, 1)}}
	damaged := &record.Deploy{ID: 8, Damage: errors.New("verify /b/deploy/8/record: no")}
	w := newRefWatch(repos.Dir{}, nil, slog.New(slog.DiscardHandler))
	if err := w.probeChains(); err != nil {
		t.Error(err)
	}
	w.odd["config"] = oddities([]status.Status{
		{Target: target.Target{Namespace: "/a"}, State: &record.State{Head: head, Beyond: record.MaxID + 1}},
		{Target: target.Target{Namespace: "/b"}, State: &record.State{Head: damaged}},
		{Target: target.Target{Namespace: "/c"}},
		{Target: target.Target{Namespace: "/d"}, State: &record.State{}},
	})
	_, body := get(answer("readyz", []probe{{"chains", w.probeChains}}), "/readyz?verbose")
	for _, want := range []string{
		"[!]chains warning: /a/refship/head names deploy 9007199254740993, ", "the time of deploy 7 of /a, ",
		"is 3 years ahead of this machine's clock", "[!]chains warning: verify /b/deploy/8/record: no\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
	if n := strings.Count(body, "[!]"); n != 3 {
		t.Errorf("%d warnings:\n%s", n, body)
	}
}

// A ref whose file is empty is told by /readyz?verbose, with the remedy, until it is gone; also without etcd.
func TestEmptyRefs(t *testing.T) {
	w := newWatched(t)
	config := w.create("config", "main")
	ready := answer("readyz", []probe{{"refs", w.watch.probeRefs}})
	tells := func(want string) {
		t.Helper()
		if status, body := get(ready, "/readyz?verbose"); status != 200 || body != want+"readyz check passed\n" {
			t.Errorf("readyz: %d %s\nwant: %s", status, body, want)
		}
	}
	path := filepath.Join(config.Dir, "refs", "heads", "side")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kv := w.client.KV
	w.client.KV = downKV{kv}
	w.watch.compareAll(t.Context())
	w.client.KV = kv
	_, body := get(ready, "/readyz?verbose")
	if !strings.HasPrefix(body, "[!]refs warning: config: refs/heads/side is an empty file: ") ||
		!strings.Contains(body, "(rm "+path+")") {
		t.Error(body)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.watch.compareAll(t.Context())
	tells("[+]refs ok\n")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.watch.compareAll(t.Context())
	if err := os.RemoveAll(config.Dir); err != nil {
		t.Fatal(err)
	}
	w.watch.compareAll(t.Context())
	tells("[+]refs ok\n")
}
