package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/agent"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// ringed is a chain in a real etcd, and nodes that run it once.
type ringed struct {
	*chain.Setup
	url  string
	last tree.OID
}

func newRinged(t *testing.T) *ringed {
	f := &ringed{url: fixture.ServeEtcd(t)}
	client, err := f.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f.Setup = &chain.Setup{
		TB: t, Client: client, KV: client.KV, Repo: fixture.NewRepository(t), Namespace: "/refship/config",
	}
	f.Store = f.NewStore(deploy.Config{LeaseTTL: time.Minute})
	return f
}

func (f *ringed) dial(ctx context.Context) (*etcd.Client, error) {
	return etcd.Dial(ctx, etcd.Config{Endpoints: []string{f.url}, Log: slog.New(slog.DiscardHandler)})
}

// push deploys a commit whose file page says which one it is.
func (f *ringed) push(page string, rings record.RingNames) {
	f.Helper()
	var parents []tree.OID
	if !f.last.IsZero() {
		parents = append(parents, f.last)
	}
	f.last = f.Repo.Commit(page, map[string]fixture.File{"page": {Content: page}}, parents...)
	job := f.Job(f.last)
	job.Rings.Names = rings
	if _, err := f.Publish(f.Context(), job); err != nil {
		f.Fatal(err)
	}
}

func (f *ringed) put(change func(*record.Rollout)) {
	f.Helper()
	state, err := f.Chain().State(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	r := state.Rollout.Clone()
	change(r)
	f.Put(f.Chain().Key(record.RolloutKey), string(r.Encode()))
}

// run has a node of a ring run what it may, once, and gives what it runs then.
func (f *ringed) run(root, ring string, judge func(*record.Deploy) error) (page string, err error) {
	f.Helper()
	a, err := agent.New(agent.Config{
		Root: root, Link: "current", Name: "n1", Ring: ring, OneTime: true, SyncTimeout: time.Minute,
		Dial: func(ctx context.Context) (*etcd.Client, record.Namespace, error) {
			client, err := f.dial(ctx)
			return client, f.Namespace, err
		},
		Judge:  func(_ context.Context, _ *store.Chain, d *record.Deploy) error { return judge(d) },
		Remedy: func(error) string { return "" }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	err = a.Run(f.Context())
	content, _ := os.ReadFile(filepath.Join(root, "current", "page"))
	return string(content), err
}

func (f *ringed) wants(root, ring, want string, judge func(*record.Deploy) error) {
	f.Helper()
	if page, err := f.run(root, ring, judge); err != nil || page != want {
		f.Errorf("a node of the ring %q runs %q, %v; want %q", ring, page, err, want)
	}
}

func (f *ringed) refuses(root, ring, why string, judge func(*record.Deploy) error) {
	f.Helper()
	if page, err := f.run(root, ring, judge); err == nil || !strings.Contains(err.Error(), why) || page != "" {
		f.Errorf("a new node of the ring %q runs %q, %v; want none: %s", ring, page, err, why)
	}
}

func all(*record.Deploy) error { return nil }

// A node whose ring may not run the head runs what all might run last, if it can believe that, and never goes back.
func TestRingBase(t *testing.T) {
	t.Parallel()
	f := newRinged(t)
	const rings = "canary,rest"
	f.push("one", rings)
	f.refuses(t.TempDir(), "rest", "deploy 1 is not released to the ring rest", all)
	f.put(func(r *record.Rollout) { r.Released = 2 })
	old := t.TempDir()
	f.wants(old, "rest", "one", all)
	f.push("two", "")
	kept := t.TempDir()
	f.wants(kept, "rest", "two", all)
	f.push("three", rings)
	canary := t.TempDir()
	f.wants(canary, "canary", "three", all)
	f.wants(canary, "rest", "three", all) // it has another ring since, and goes on
	f.wants(kept, "rest", "two", all)
	f.wants(old, "", "two", all)
	f.wants(t.TempDir(), "rest", "two", all)
	// What runs is judged as the head is.
	untrusted := func(d *record.Deploy) error {
		if d.ID == 2 {
			return errors.New("who has signed this?")
		}
		return nil
	}
	f.refuses(t.TempDir(), "rest", "who has signed this?", untrusted)
	f.wants(kept, "rest", "two", untrusted) // it runs already
	// A writer of etcd can name any deploy of the chain, and no node that runs a later one goes back to it.
	f.put(func(r *record.Rollout) { r.Base = 1 })
	f.wants(t.TempDir(), "rest", "one", all)
	f.wants(kept, "rest", "two", all)
	f.wants(canary, "rest", "three", all)
	f.put(func(r *record.Rollout) { r.Base = 3 })
	f.refuses(t.TempDir(), "rest", "nobody knows who may run deploy 3", all)
	f.Put(f.Chain().Key(record.RolloutKey), "junk")
	f.refuses(t.TempDir(), "canary", "nobody knows who may run deploy 3", all)
	f.wants(old, "rest", "two", all)
}

// A head whose records do not lead back to what all might run is damage.
func TestRingBaseOfAnotherChain(t *testing.T) {
	t.Parallel()
	f := newRinged(t)
	f.push("one", "")
	f.push("two", "canary,rest")
	other := newRinged(t)
	other.push("other", "")
	resp, err := other.KV.Get(t.Context(), string(f.Namespace)+"/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs { // deploy 1 is another chain's now
		if key := string(kv.Key); !strings.HasSuffix(key, "/refship/head") {
			f.Put(key, string(kv.Value))
		}
	}
	root := t.TempDir()
	if page, err := f.run(root, "rest", all); err == nil || !fault.Is(err, fault.Corrupt) || page != "" {
		t.Errorf("it runs %q, %v", page, err)
	}
	f.refuses(t.TempDir(), "rest", "verify", all)
}

func TestFailureOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want record.NodeFailure
	}{
		{errors.New("x"), ""},
		{agent.FailedAs(record.FailedPrepare, errors.New("x")), record.FailedPrepare},
		{fmt.Errorf("a: %w", errors.Join(agent.FailedAs(record.FailedAge, io.EOF), nil)), record.FailedAge},
		{agent.FailedAs(record.FailedPrepare, fmt.Errorf("a: %w", syscall.ENOSPC)), record.FailedDisk},
		{errors.Join(agent.FailedAs(record.FailedPrepare, io.EOF), syscall.EROFS), record.FailedDisk},
		{&os.PathError{Op: "write", Path: "a", Err: syscall.EDQUOT}, record.FailedDisk},
	} {
		if got := agent.FailureOf(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
	if agent.FailedAs(record.FailedPrepare, nil) != nil {
		t.Error("nothing has failed")
	}
	if err := agent.FailedAs(record.FailedFetch, io.EOF); !errors.Is(err, io.EOF) || err.Error() != io.EOF.Error() {
		t.Errorf("%v", err)
	}
}
