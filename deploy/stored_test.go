package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// holds is what deploys have in etcd: their values, and 400 bytes for each key.
func (f *setup) holds() int64 {
	f.Helper()
	var sum int64
	for key, value := range f.dump() {
		name, isOwn := strings.CutPrefix(key, own)
		if !isOwn || strings.HasPrefix(name, "tree/") || strings.HasPrefix(name, "object/") {
			sum += int64(len(value)) + 400
		}
	}
	return sum
}

// stored is what the chain says of it.
func (f *setup) stored() record.Stored {
	f.Helper()
	state, err := f.chain.State(f.Context())
	if err != nil || state.Stored == nil {
		f.Fatalf("%+v, %v", state, err)
	}
	return *state.Stored
}

// limited is a job with a limit.
func (f *setup) limited(commit tree.OID, limit record.Limit) *deploy.Job {
	f.Helper()
	job := f.job(commit)
	job.MaxStored = limit
	return job
}

// refusedForSize is the reason of a refusal that the limit makes, and what it is about.
const refusedForSize = "max-stored config default"

// zeros is a file that git packs a thousandfold.
func zeros(n int) file { return regular(strings.Repeat("\x00", n)) }

func TestANamespaceHoldsNoMoreThanItsLimit(t *testing.T) {
	f := newSetup(t)
	const limit = 3 << 20
	all := files{"a": zeros(2 << 20)}
	first := f.repo.commit("first", all)
	if _, _, err := f.do(f.limited(first, limit)); err != nil {
		t.Fatal(err)
	}
	before := f.dump()
	all["b"] = zeros(1<<20 + 1)
	second := f.repo.commit("second", all, first)
	_, _, err := f.do(f.limited(second, limit))
	fixture.WantReason(t, fault.Refused, err, refusedForSize)
	f.unchanged(before)
	if got := f.stored(); got.Bytes != f.holds() || got.Unsure != 0 {
		t.Errorf("%+v, want %d", got, f.holds())
	}
	for _, enough := range []record.Limit{limit + 2<<20, record.NoLimit} {
		if p, err := f.chain.Prepare(t.Context(), nil, f.limited(second, enough), quiet); err != nil {
			t.Error(err)
		} else if _, err := f.store.TakeRoom(t.Context(), []*deploy.Prepared{p}); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := f.do(f.limited(second, limit+1<<20)); err != nil {
		t.Error(err)
	}
	// What is there already adds nothing.
	if _, _, err := f.do(f.limited(f.repo.commit("less", files{"b": all["b"]}, second), limit+1<<20+8<<10)); err != nil {
		t.Error(err)
	}
}

func TestTheLimitIsAQuarterOfTheQuota(t *testing.T) {
	f := newSetupOn(t, fixture.StartEtcd(t, embedded.Config{Quota: 32 << 20}).Client())
	small, large := f.repo.commit("small", files{"a": zeros(7 << 20)}), f.repo.commit("large", files{"a": zeros(8 << 20)})
	_, _, err := f.do(f.job(large))
	fixture.WantFault(t, fault.Refused, err, "/refship/config holds 0 B in etcd, and this adds 8 MiB; "+
		"the limit is 8 MiB, a quarter of etcd's quota", "")
	f.deploy(small)
	for limit, want := range map[record.Limit]int64{record.DefaultLimit: 0, record.NoLimit: 0, 5: 5} {
		if got := limit.In(0); got != want {
			t.Errorf("%q of an unknown quota is %d", limit, got)
		}
	}
}

// The running count is what a full count gives, whatever is deployed and however it is written.
func TestWhatIsStoredIsCountedToTheByte(t *testing.T) {
	f := newSetup(t)
	all := deepTree()
	check := func(what string) {
		t.Helper()
		if got := f.stored(); got.Bytes != f.holds() || got.Unsure != 0 {
			t.Errorf("%s: %+v, want %d", what, got, f.holds())
		}
	}
	first := f.deploy(f.repo.commit("first", all))
	check("many txns")
	all["big"], all["a/b/c/d/e/f"] = regular("small"), regular("changed")
	second := f.deploy(f.repo.commit("second", all, first.Hash.OID()))
	check("one txn")
	f.path = "a"
	third := f.deploy(f.repo.commit("third", all, second.Hash.OID()))
	check("path")
	running := f.stored()
	f.delete(own + "stored")
	all["a/b/c/d/e/f"] = regular("again")
	_, lock := f.prepareChecked(f.limited(f.repo.commit("fourth", all, third.Hash.OID()), 1<<40))
	if got := f.stored(); got != running {
		t.Errorf("counted %+v, want %+v", got, running)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// prepareChecked is prepare, and asks for room.
func (f *setup) prepareChecked(job *deploy.Job) (*deploy.Prepared, *deploy.Lock) {
	f.Helper()
	p, lock := f.prepare(job)
	if _, err := f.store.TakeRoom(f.Context(), []*deploy.Prepared{p}); err != nil {
		f.Fatal(err)
	}
	return p, lock
}

func TestMgmtsKeysAreCounted(t *testing.T) {
	f := newSetup(t)
	for i, frontend := range []record.Frontend{record.Lang, record.Lang} {
		job := f.job(f.repo.commit("mcl", files{
			"main.mcl": regular(fmt.Sprint("# ", i, "\n")), "files/large": regular(noise(tree.ChunkSize + i)),
		}))
		job.Frontend, job.Force, job.Reason = frontend, i > 0, "another line"
		if _, _, err := f.do(job); err != nil {
			t.Fatal(err)
		}
		if got := f.stored(); got.Bytes != f.holds() || got.Unsure != 0 {
			t.Errorf("deploy %d: %+v, want %d", i+1, got, f.holds())
		}
	}
}

// No upload that is cut off leaves more behind than is counted. What it did not leave behind is found where it decides.
func TestUploadsThatWereCutOffAreCounted(t *testing.T) {
	f := newSetup(t)
	f.deploy(f.repo.commit("first", files{"a": regular("a")}))
	all := files{"big": regular(noise(3 * tree.ChunkSize)), "d/e/f": regular("deep")}
	for i := range 200 {
		all[fmt.Sprintf("d/%d", i)] = regular(fmt.Sprint("content ", i))
	}
	commit := f.repo.commit("second", all, fixture.OID(string(f.get(1).Hash)))
	for n := 0; ; n++ {
		p, lock := f.prepareChecked(f.limited(commit, record.NoLimit))
		reached := f.cutAt(n)
		err := p.Upload(t.Context(), quiet)
		f.tap.on(nil)
		if got := f.stored(); got.Bytes < f.holds() || got.Bytes-got.Unsure > f.holds() {
			t.Errorf("cut at txn %d: %+v, and %d are there", n+1, got, f.holds())
		}
		if err := lock.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !reached() {
			if err != nil || n < 4 {
				t.Errorf("%d txns: %v", n, err)
			}
			break
		}
	}
	counted := f.stored()
	if counted.Unsure == 0 || counted.Bytes < f.holds()+2<<20 {
		t.Fatalf("%+v, and %d are there", counted, f.holds())
	}
	all["new"] = regular(noise(1000))
	third := f.repo.commit("third", all, commit)
	if _, _, err := f.do(f.limited(third, record.Limit(counted.Bytes))); err != nil {
		t.Fatal(err)
	}
	if got := f.stored(); got.Bytes != f.holds() || got.Unsure != 0 {
		t.Errorf("counted %+v, and %d are there", got, f.holds())
	}
}

// An installed hook uploads in one process and publishes in another.
func TestWhatWasUploadedIsSure(t *testing.T) {
	f := newSetup(t)
	p, _ := f.prepareChecked(f.job(f.repo.commit("deep", deepTree())))
	if err := p.Upload(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if got := f.stored(); got.Unsure != 0 || got.Bytes != f.holds() {
		t.Errorf("%+v, want %d", got, f.holds())
	}
}

// What was counted for a push that is refused all the same is not counted for the next.
func TestRefusedPushesDoNotCountAgainAndAgain(t *testing.T) {
	f := newSetup(t)
	all := files{}
	for i := range 1000 {
		all[fmt.Sprint(i)] = regular(fmt.Sprint("content ", i))
	}
	first := f.deploy(f.repo.commit("first", all))
	f.delete(own + "stored")
	all["large"] = zeros(1 << 20)
	large := f.repo.commit("large", all, first.Hash.OID())
	refused := func() int {
		return f.tap.count(func() {
			_, _, err := f.do(f.limited(large, 1<<20))
			fixture.WantReason(t, fault.Refused, err, refusedForSize)
		})
	}
	if counting, next := refused(), refused(); counting < next+1000/32 || next > 20 {
		t.Errorf("%d requests, then %d", counting, next)
	}
	if got := f.stored(); got.Bytes != f.holds() {
		t.Errorf("%+v, want %d", got, f.holds())
	}
}

// mgmt counts nothing: after a deploy of its own all is counted anew.
func TestForeignDeploysAreCounted(t *testing.T) {
	f := newSetup(t)
	f.mgmts = true
	all := files{"metadata.yaml": regular("main: main.mcl\n"), "main.mcl": regular("# one\n")}
	first := f.deploy(f.repo.commit("first", all))
	f.put(namespace+"/storage/{sha256}"+strings.Repeat("1", 64), noise(1<<20))
	f.put(namespace+"/deploy/2/payload", "payload")
	f.put(namespace+"/deploy/2/hash", string(first.Hash))
	if state, err := f.chain.State(t.Context()); err != nil || state.Stored != nil {
		t.Errorf("%+v, %v", state.Stored, err)
	}
	all["more"] = regular("more")
	second := f.repo.commit("second", all, first.Hash.OID())
	_, _, err := f.do(f.limited(second, 1<<20))
	fixture.WantReason(t, fault.Refused, err, refusedForSize)
	if _, _, err := f.do(f.limited(second, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if got := f.stored(); got.Bytes != f.holds() || got.Deploy != 3 {
		t.Errorf("%+v, want %d", got, f.holds())
	}
}

// Without a limit a chain with foreign deploys is not counted for every push, and none of them makes it seem known.
func TestWhatIsNotKnownStaysSo(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.repo.commit("first", files{"a": regular("1")}))
	f.put(own+"stored", `{"bytes":3,"unsure":0,"deploy":7}`)
	second := f.repo.commit("second", files{"a": regular("2")}, first.Hash.OID())
	if _, _, err := f.do(f.limited(second, record.NoLimit)); err != nil {
		t.Fatal(err)
	}
	if state, err := f.chain.State(t.Context()); err != nil || state.Stored != nil {
		t.Errorf("%+v, %v", state.Stored, err)
	}
}

// An upload whose lock is another's stops: what the other has counted is all that there is.
func TestUploadStopsWhereTheLockIsLost(t *testing.T) {
	f := newSetup(t)
	for name, all := range map[string]files{"one txn": {"a": regular("a")}, "many": {"a": regular(noise(3 << 20))}} {
		f.clear()
		p, _ := f.prepareChecked(f.job(f.repo.commit(name, all)))
		f.delete(own + "lock")
		f.put(own+"lock", "another")
		before := f.dump()
		if err := p.Upload(t.Context(), quiet); !errors.Is(err, deploy.ErrLockLost) {
			t.Errorf("%s: upload: %v", name, err)
		}
		if _, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
			t.Errorf("%s: publish: %v", name, err)
		}
		f.unchanged(before)
	}
	// In the midst of it.
	f.clear()
	p, _ := f.prepareChecked(f.job(f.repo.commit("cut", deepTree())))
	writes := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		f.tap.mu.Lock()
		writes++
		now := writes
		f.tap.mu.Unlock()
		if now == 3 {
			f.delete(own + "lock")
		}
		return txn.send()
	})
	err := p.Upload(t.Context(), quiet)
	f.tap.on(nil)
	if !errors.Is(err, deploy.ErrLockLost) || errors.Is(err, etcd.ErrCompare) {
		t.Errorf("upload: %v", err)
	}
	if got := f.stored(); got.Bytes < f.holds() {
		t.Errorf("%+v, and %d are there", got, f.holds())
	}
	f.put(own+"lock", "another")
	f.delete(own + "lock")
}

// Two servers with the same chain count into the same key.
func TestTwoServersCountTogether(t *testing.T) {
	f := newSetup(t)
	other := f.newStore().Chain(namespace)
	all, last := files{}, tree.OID{}
	for i, chain := range []*deploy.Chain{f.chain, other, f.chain, other} {
		all[fmt.Sprint(i)] = regular(noise(1<<20 + i))
		var parents []tree.OID
		if i > 0 {
			parents = []tree.OID{last}
		}
		last = f.repo.commit("next", all, parents...)
		_, _, err := chain.Do(t.Context(), holder, f.limited(last, 7<<19), 0, quiet)
		if i == 3 {
			fixture.WantReason(t, fault.Refused, err, refusedForSize)
		} else if err != nil {
			t.Fatal(err)
		}
		if got := f.stored(); got.Bytes != f.holds() {
			t.Errorf("deploy %d: %+v, want %d", i+1, got, f.holds())
		}
	}
}

// seen counts the keys that etcd goes through to answer ranges.
type seen struct {
	clientv3.KV
	keys int64
}

func (s *seen) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	resp, err := s.KV.Do(ctx, op)
	if err == nil && op.IsGet() {
		s.keys += resp.Get().Count
	}
	return resp, err
}

// etcd goes through all of a range for each page of it: to count many keys must not take their square.
func TestManyKeysAreCountedInParts(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	const many = 5_000
	w := etcd.NewWriter(t.Context(), f.client)
	for i := range many {
		sum := sha256Hex([]byte(fmt.Sprint(i)))
		for _, key := range []string{namespace + "/storage/{sha256}" + sum, own + "tree/" + sum[:40]} {
			if err := w.Put(key, []byte(sum[:i%64])); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 500 { // the chunks of one file, which no digit parts
		if err := w.Put(fmt.Sprintf("%s/storage/{sha256}%064d/%d", namespace, 0, i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{own + "hold-not", own + "lock-not", namespace + "/x", namespace + "/zz/y"} {
		if err := w.Put(key, []byte("y")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Barrier(); err != nil {
		t.Fatal(err)
	}
	spy := &seen{KV: f.tap.KV}
	f.tap.KV = spy
	requests := f.tap.count(func() { f.prepareChecked(f.limited(f.one(), 1<<40)) })
	if got := f.stored(); got.Bytes != f.holds() {
		t.Errorf("counted %+v, want %d", got, f.holds())
	}
	if requests > 2*many/16*3/2+200 || spy.keys > 30*2*many {
		t.Errorf("%d requests, in which etcd went through %d keys", requests, spy.keys)
	}
}
