package verify_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/gc"
	"refship/deploy/git"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/transparency"
	"refship/deploy/tree"
	"refship/deploy/verify"
	"refship/deploy/witness"
	"refship/keys"
)

func TestMain(m *testing.M) { fixture.Main(m) }

const namespace = "/refship/config"

// setup is a chain in a real etcd, and the repository that is deployed into it.
type setup struct {
	testing.TB
	client *clientv3.Client
	remote *clientv3.Client // over the socket, as another process has it
	store  *deploy.Store
	repo   *fixture.Repository
	opened *git.Repository
	ns     record.Namespace
	signer ssh.Signer
}

func newSetup(t testing.TB, ns record.Namespace) *setup {
	t.Helper()
	etcd := fixture.NewEtcd(t)
	f := &setup{
		TB: t, client: etcd.Client(), remote: etcd.Remote(), repo: fixture.NewRepository(t), ns: ns,
		signer: fixture.Signer(1),
	}
	f.store = deploy.NewStore(f.client, deploy.Config{LeaseTTL: time.Minute, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = f.store.Close(context.WithoutCancel(t.Context())) })
	repo, err := git.OpenRepository(t.Context(), f.repo.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = repo.Close() })
	f.opened = repo
	return f
}

func (f *setup) chain() *deploy.Chain { return f.store.Chain(f.ns) }

// allowed allows the server's key, and no other.
func allowed() *keys.AllowedSigners {
	return keys.NewAllowedSigners("the test", &keys.Signer{
		Principals: "server", Namespaces: keys.Namespace, PublicKey: fixture.Signer(1).PublicKey(),
	})
}

func quiet(text.Progress) {}

// files are contents by path.
type files map[string]string

func (f *setup) commit(message string, all files, parents ...tree.OID) tree.OID {
	f.Helper()
	named := map[string]fixture.File{}
	for path, content := range all {
		file := fixture.File{Content: content}
		switch {
		case strings.HasSuffix(path, "run"):
			file.Mode = "100755"
		case strings.HasSuffix(path, "link"):
			file.Mode = "120000"
		case strings.HasSuffix(path, "module"):
			file.Mode = "160000"
		}
		named[path] = file
	}
	return f.repo.Commit(message, named, parents...)
}

// deploy publishes a job of a commit.
func (f *setup) deploy(commit tree.OID, change ...func(*deploy.Job)) {
	f.Helper()
	job := &deploy.Job{
		Kind: record.KindPush, Repo: f.opened, Commit: commit, Frontend: record.Files, Repository: "config",
		Target: "default", Ref: "refs/heads/main", Pusher: record.Pusher{Name: "ada", Via: "ssh"}, Server: "host",
		Signer: f.signer,
	}
	for _, change := range change {
		change(job)
	}
	if err := job.Peel(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.publish(job)
}

func (f *setup) publish(job *deploy.Job) {
	f.Helper()
	lock, err := f.lock()
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = lock.Unlock(context.WithoutCancel(f.Context())) }()
	p, err := f.chain().Prepare(f.Context(), lock, job, quiet)
	if err != nil {
		f.Fatal(err)
	}
	defer p.Drop()
	if p.Verdict.Idle() {
		f.Fatal("nothing is to be deployed")
	}
	give, err := f.store.TakeRoom(f.Context(), []*deploy.Prepared{p})
	if err != nil {
		f.Fatal(err)
	}
	defer give()
	if err := p.Upload(f.Context(), quiet); err != nil {
		f.Fatal(err)
	}
	if _, err := p.Publish(f.Context()); err != nil {
		f.Fatal(err)
	}
}

func (f *setup) lock() (*deploy.Lock, error) {
	return f.chain().Lock(f.Context(), record.Holder{User: "ada"}, time.Minute, func(record.Holder, time.Duration) {})
}

func (f *setup) rollback(id record.ID) {
	f.Helper()
	which, err := record.ParseSelector(id.String())
	if err != nil {
		f.Fatal(err)
	}
	job, err := f.chain().NewRollback(f.Context(), which)
	if err != nil {
		f.Fatal(err)
	}
	job.Reason, job.Server, job.Signer, job.Repo = "it broke", "host", f.signer, f.opened
	job.Pusher = record.Pusher{Name: "ops", Via: "ssh"}
	f.publish(job)
}

func forced(job *deploy.Job)   { job.Force, job.Reason = true, "it must" }
func unsigned(job *deploy.Job) { job.Signer = nil }

// collect lets gc take what the newest so many deploys do not need.
func (f *setup) collect(keep int) {
	f.Helper()
	if _, err := gc.Run(f.Context(), gc.Config{
		Store: f.store, Who: record.Holder{User: "ops"}, KeepLast: keep, Progress: quiet, Gone: func(gc.Gone) {},
	}, f.ns); err != nil {
		f.Fatal(err)
	}
}

func (f *setup) put(key, value string) {
	f.Helper()
	if _, err := f.client.Put(f.Context(), key, value); err != nil {
		f.Fatal(err)
	}
}

// held are the keys of the namespace.
func (f *setup) held() held {
	f.Helper()
	all := fixture.Dump(f.TB, f.client)
	maps.DeleteFunc(all, func(key, _ string) bool { return !strings.HasPrefix(key, string(f.ns)+"/") })
	return all
}

// foreign publishes a deploy as mgmt itself does.
func (f *setup) foreign(id record.ID, hash record.Hash, all files) {
	f.Helper()
	root := &mgmt.File{Mode: fs.ModeDir}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sum := sha256.Sum256([]byte(all[name]))
		f.put(string(f.ns)+"/storage/{sha256}"+hex.EncodeToString(sum[:]), all[name])
		root.Children = append(root.Children, &mgmt.File{Name: name, Mode: 0o644, SHA256: sum})
	}
	block, err := mgmt.EncodeSuperblock(root)
	if err != nil {
		f.Fatal(err)
	}
	path := mgmt.SuperblockPath(uint64(id), "00000000-0000-4000-8000-000000000001")
	f.put(string(f.ns)+path, string(block))
	payload, err := (&mgmt.Payload{Frontend: mgmt.Lang, InputURI: mgmt.InputURI(path)}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.put(f.chain().DeployKey(id, record.KeyHash), string(hash))
	f.put(f.chain().DeployKey(id, record.KeyPayload), string(payload))
}

// key writes the private half of a key for git to sign with, and gives its path.
func (f *setup) key(signer byte) string {
	f.Helper()
	path := filepath.Join(f.TempDir(), "key")
	if err := os.WriteFile(path, privateKey(f.TB, signer), 0o600); err != nil {
		f.Fatal(err)
	}
	return path
}

// held is a store.Reader over a map.
type held map[string]string

func (h held) Read(_ context.Context, _ int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	if len(queries) > store.MaxQueries {
		return nil, 0, fmt.Errorf("%d queries", len(queries))
	}
	found := make([][]store.KeyValue, len(queries))
	for i, q := range queries {
		if q.Count {
			found[i] = []store.KeyValue{{Key: q.Key}}
			for key := range h {
				if q.End == "" && strings.HasPrefix(key, q.Key) || key >= q.Key && key < q.End {
					found[i][0].Count++
				}
			}
			continue
		}
		if q.First == 0 && q.Last == 0 {
			if value, ok := h[q.Key]; ok {
				found[i] = []store.KeyValue{{Key: q.Key, Value: []byte(value), Revision: 1}}
			}
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(h)) {
			if q.First > len(found[i]) && (key >= q.Key && key < q.End || q.End == "" && strings.HasPrefix(key, q.Key)) {
				found[i] = append(found[i], store.KeyValue{Key: key, Value: []byte(h[key]), Revision: 1})
			}
		}
	}
	return found, 1, nil
}

// relog writes the log anew, up to an id, as who has the key can.
func (f *setup) relog(h held, to record.ID) {
	f.Helper()
	log := new(transparency.Tree)
	chain := store.New(h, f.ns)
	maps.DeleteFunc(h, func(key, _ string) bool { return strings.HasPrefix(key, chain.Key(store.LogPrefix)) })
	err := chain.Leaves(f.Context(), 1, to, func(id record.ID, leaf []byte) error {
		h[chain.LogKey(id)] = string(log.Append(transparency.LeafHash(leaf)))
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	d, err := chain.Get(f.Context(), to)
	if err != nil {
		f.Fatal(err)
	}
	cp := transparency.Checkpoint{Chain: d.Record.Chain, Size: to, Root: log.Root()}
	signer, err := transparency.NewSigner(cp.Origin(), f.signer)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := cp.Sign(signer)
	if err != nil {
		f.Fatal(err)
	}
	h[chain.Key(store.CheckpointKey)] = string(signed)
}

// verify verifies all of the chain, with the server's key allowed.
func (h held) verify(t testing.TB, ns record.Namespace) *verified {
	t.Helper()
	v, err := h.try(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (h held) try(ctx context.Context, ns record.Namespace) (*verified, error) {
	return runVerify(ctx, store.New(h, ns))
}

// reader is the chain as h has it.
func (f *setup) reader(h held) *store.Chain { return store.New(h, f.ns) }

// verified is what a Run has found.
type verified struct {
	*verify.Result
	all map[record.ID]*verify.Deploy
}

func runVerify(ctx context.Context, chain *store.Chain, change ...func(*verify.Config)) (*verified, error) {
	v := &verified{all: map[record.ID]*verify.Deploy{}}
	var telling sync.Mutex
	w1, err := witness.NewWitness("w1", fixture.Signer(2).PublicKey())
	if err != nil {
		return nil, err
	}
	cfg := verify.Config{Chain: chain, Allowed: allowed(), Witnesses: []witness.Witness{w1}, Deploy: func(d *verify.Deploy) error {
		telling.Lock()
		defer telling.Unlock()
		v.all[d.ID] = d
		return nil
	}, Progress: quiet}
	for _, change := range change {
		change(&cfg)
	}
	v.Result, err = verify.Run(ctx, cfg)
	return v, err
}

// findings are all that were kept.
func (v *verified) findings() []verify.Finding {
	all := slices.Clone(v.Strays)
	for _, id := range slices.Sorted(maps.Keys(v.all)) {
		all = append(all, v.all[id].Findings...)
	}
	return all
}

// states are those of all deploys, oldest first.
func (v *verified) states() (all []verify.State) {
	for _, id := range slices.Sorted(maps.Keys(v.all)) {
		all = append(all, v.all[id].State())
	}
	return all
}
