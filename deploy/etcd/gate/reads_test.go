package gate_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
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
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

func quiet(text.Progress) {}

// publish makes deploys of commits.
func publish(
	tb testing.TB, client *etcd.Client, frontend record.Frontend, repo *fixture.Repository, commits ...tree.OID,
) {
	tb.Helper()
	ctx := tb.Context()
	s := deploy.NewStore(client, deploy.Config{LeaseTTL: time.Minute, Log: slog.New(slog.DiscardHandler)})
	opened, err := git.OpenRepository(ctx, repo.Dir, nil)
	if err != nil {
		tb.Fatal(err)
	}
	chain := s.Chain(ns)
	for _, commit := range commits {
		lock, err := chain.Lock(ctx, record.Holder{User: "ada"}, 0, func(record.Holder, time.Duration) {})
		if err != nil {
			tb.Fatal(err)
		}
		p, err := chain.Prepare(ctx, lock, &deploy.Job{
			Kind: record.KindPush, Repo: opened, Commit: commit, Frontend: frontend, Repository: "config",
			Target: "default", Ref: "refs/heads/main", Pusher: record.Pusher{Name: "ada", Via: "ssh"}, Server: "host",
			Signer: fixture.Signer(1),
		}, quiet)
		if err == nil {
			err = p.Upload(ctx, quiet)
		}
		if err == nil {
			_, err = p.Publish(ctx)
		}
		if err != nil {
			tb.Fatal(err)
		}
		err = chain.Hold(ctx, &record.Hold{User: "ada", Reason: "stop at " + commit.String()})
		if err == nil {
			_, err = chain.Resume(ctx, &record.Event{Kind: record.EventResume, User: "ada"}, false)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := opened.Close(); err != nil {
		tb.Error(err)
	}
	if err := s.Close(ctx); err != nil {
		tb.Error(err)
	}
}

// read reads all that the reading commands can read of a chain.
func read(t *testing.T, chain *store.Chain) string {
	t.Helper()
	var out bytes.Buffer
	ctx, dir := t.Context(), t.TempDir()
	var deploys []*record.Deploy
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	state, err := chain.State(ctx)
	check(err)
	fmt.Fprintf(&out, "head %d, hold %v, lock %v, stored %v\n", state.Head.ID, state.Hold, state.Lock, state.Stored)
	check(chain.Story(ctx, 0, func(d *record.Deploy) error {
		fmt.Fprintf(&out, "deploy %d %s %s %x\n", d.ID, d.Hash, d.RecordBytes, d.Signature)
		deploys = append(deploys, d)
		return nil
	}, func(e *record.Event) error {
		fmt.Fprintf(&out, "event %+v\n", *e)
		return nil
	}))
	for i, d := range deploys {
		got, err := chain.Get(ctx, d.ID)
		check(err)
		fmt.Fprintf(&out, "got %d %s\n", got.ID, got.Hash)
		var files []string
		check(chain.List(ctx, d, "", true, func(path string, e tree.Entry) error {
			fmt.Fprintf(&out, "%d: %s %v %s %d\n", d.ID, path, e.Mode, e.OID, e.Size)
			files = append(files, path)
			return nil
		}))
		for _, path := range files {
			fmt.Fprintf(&out, "%d: %s: ", d.ID, path)
			check(chain.Cat(ctx, d, &out, path))
		}
		if i > 0 {
			check(chain.Diff(ctx, d, deploys[i-1], func(c store.Change) error {
				fmt.Fprintf(&out, "changed in %d: %s\n", deploys[i-1].ID, c.Path)
				return nil
			}))
		}
		at := filepath.Join(dir, d.ID.String())
		check(chain.Checkout(ctx, d, at, quiet))
		check(filepath.WalkDir(at, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			fmt.Fprintf(&out, "out: %s %v %q\n", strings.TrimPrefix(path, dir), e.Type(), content)
			return err
		}))
	}
	return out.String()
}

// What reads a chain reads the same through a gate: contents and nodes of more than 1 MiB, too.
func TestReads(t *testing.T) {
	e := fixture.NewEtcd(t)
	repo := fixture.NewRepository(t)
	all := map[string]fixture.File{"a": {Content: "a\n"}, "run": {Mode: "100755", Content: "#!/bin/sh\n"},
		"link": {Mode: "120000", Content: "a"}, "large": {Content: strings.Repeat("0123456789abcde\n", 150_000)},
		"full": {Content: strings.Repeat("x", tree.ChunkSize)}}
	for i := range 300 {
		all[fmt.Sprintf("sub/%d/%d", i%7, i)] = fixture.File{Content: fmt.Sprint(i)}
	}
	first := repo.Commit("first", all)
	all["a"] = fixture.File{Content: "b\n"}
	delete(all, "run")
	second := repo.Commit("second", all, first)
	publish(t, e.Client(), record.Files, repo, first, second)
	want := read(t, store.Open(e.Client(), ns))
	got := read(t, store.Open(through(t, e.Remote(), ns), ns))
	if got != want {
		t.Error(cmp.Diff(want, got))
	}
	for _, words := range []string{
		"head 2,", "deploy 1 ", "Kind:resume", "2: sub/6/6", "changed in 2: run", "out: /1/run",
	} {
		if !strings.Contains(got, words) {
			t.Errorf("%q was not read:\n%.2000s", words, got)
		}
	}
}

// BenchmarkCheckout reads 20,000 small files as a checkout does, through a gate, over a connection to etcd, and inside
// the server's process.
func BenchmarkCheckout(b *testing.B) {
	const files = 20_000
	e := fixture.NewEtcd(b)
	w := etcd.NewWriter(b.Context(), e.Client())
	var gets []clientv3.Op
	for i := range files {
		key := fmt.Sprintf("%s/storage/{sha256}%064x", ns, i)
		gets = append(gets, clientv3.OpGet(key))
		if err := w.Put(key, bytes.Repeat([]byte{byte(i)}, 500)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Barrier(); err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name   string
		client *etcd.Client
	}{{"inside", e.Client()}, {"connection", e.Remote()}, {"gate", through(b, e.Remote(), ns)}} {
		b.Run(way.name, func(b *testing.B) {
			kv := etcd.Bounded(way.client)
			for b.Loop() {
				for some := range slices.Chunk(gets, 64) {
					resp, err := kv.Txn(b.Context()).Then(some...).Commit()
					if err != nil || len(resp.Responses) != len(some) {
						b.Fatal(resp, err)
					}
				}
			}
			b.ReportMetric(float64(files*b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}
