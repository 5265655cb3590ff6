package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/text"
	"refship/deploy/tree"
)

// complete checks that everything below each tree key of a dump exists, as a reader finds it: a key or all its chunks.
func complete(t testing.TB, keys map[string]string) {
	t.Helper()
	value := func(key string, size int64) (string, bool) {
		if size <= tree.ChunkSize {
			v, ok := keys[key]
			return v, ok && int64(len(v)) == size
		}
		var b strings.Builder
		for i := int64(0); i*tree.ChunkSize < size; i++ {
			b.WriteString(keys[fmt.Sprintf("%s/%d", key, i)])
		}
		return b.String(), int64(b.Len()) == size
	}
	trees := map[string]string{}
	for key := range keys {
		rest, ok := strings.CutPrefix(key, own+"tree/")
		if !ok {
			continue
		}
		oid, _, cut := strings.Cut(rest, "/")
		whole := keys[key]
		if cut {
			var b strings.Builder
			for i := 0; keys[fmt.Sprintf("%stree/%s/%d", own, oid, i)] != ""; i++ {
				b.WriteString(keys[fmt.Sprintf("%stree/%s/%d", own, oid, i)])
			}
			whole = b.String()
		}
		node, err := tree.ParseNode([]byte(whole))
		if err != nil || node.OID(tree.FormatSHA1).String() != oid {
			if cut {
				continue // its chunks are not all there: it does not exist
			}
			t.Fatalf("tree %s: %v", oid, err)
		}
		trees[oid] = whole
	}
	for oid, whole := range trees {
		node, err := tree.ParseNode([]byte(whole))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range node.Entries {
			switch e.Mode.String() {
			case "0160000":
			case "0040000":
				below, ok := trees[e.OID.String()]
				if !ok || int64(len(below)) != e.Size || sha256Hex([]byte(below)) != e.SHA256.String() {
					t.Errorf("tree %s is there, %q below it is not", oid, e.Name)
				}
			default:
				content, ok := value(namespace+"/storage/{sha256}"+e.SHA256.String(), e.Size)
				if !ok || sha256Hex([]byte(content)) != e.SHA256.String() {
					t.Errorf("tree %s is there, the content of %q is not", oid, e.Name)
				}
			}
		}
	}
}

// deepTree has layers, a file of several chunks, a node of several chunks, and more keys than one txn takes.
func deepTree() files {
	all := files{"big": regular(noise(2 * tree.ChunkSize)), "link": {"120000", "big"}}
	for i := range 140 {
		all[fmt.Sprintf("many/%d/file", i)] = regular(fmt.Sprint("content ", i))
	}
	for i := range 3000 {
		all[fmt.Sprintf("a/b/c/d/wide/%0250d", i)] = regular("")
	}
	all["a/b/c/d/e/f"] = regular("deep")
	return all
}

var errCut = errors.New("cut off")

// cutAt lets n writing txns through and fails all after them; the first that fails is applied all the same every other
// time.
func (f *setup) cutAt(n int) (reached func() bool) {
	seen := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if !txn.writes() {
			return txn.send()
		}
		f.tap.mu.Lock()
		seen++
		now := seen
		f.tap.mu.Unlock()
		switch {
		case now <= n:
			return txn.send()
		case now == n+1 && n%2 == 1: // applied, and the answer lost
			if _, err := txn.send(); err != nil {
				return nil, err
			}
		}
		return nil, errCut
	})
	return func() bool {
		f.tap.mu.Lock()
		defer f.tap.mu.Unlock()
		return seen > n
	}
}

func TestInterruptedAtEveryTxn(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	all := deepTree()
	commit := f.repo.commit("deep", all)
	for n := 0; ; n++ {
		f.clear()
		p, lock := f.prepare(f.job(commit))
		reached := f.cutAt(n)
		err := p.Upload(t.Context(), quiet)
		if err == nil && !reached() {
			f.tap.on(nil)
			if n < 5 {
				t.Errorf("only %d txns", n)
			}
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatalf("txn %d: %v", n+1, err)
		}
		f.tap.on(nil)
		keys := f.dump()
		complete(t, keys)
		for key := range keys {
			if strings.HasPrefix(key, namespace+"/deploy/") || key == own+"head" {
				t.Errorf("cut at txn %d: %s is there", n+1, key)
			}
		}
		if id := f.head(); id != 0 {
			t.Errorf("cut at txn %d: deploy %d is visible", n+1, id)
		}
		if n%2 == 0 { // go on where it stopped, or begin again
			if err := p.Upload(t.Context(), quiet); err != nil {
				t.Fatal(err)
			}
			d, err := p.Publish(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			complete(t, f.dump())
			if n == 0 {
				f.sameCheckout(d)
			}
			continue
		}
		if err := lock.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.deploy(commit)
		complete(t, f.dump())
	}
}

// The whole of Do, on top of an earlier deploy, with a txn failing anywhere: lock, upload, publish. Of a small deploy
// the first two are one, and what is forced takes its lock first.
func TestDoFailsAtEveryTxnAndSucceedsAfterwards(t *testing.T) {
	for _, forced := range []bool{false, true} {
		t.Run(fmt.Sprintf("forced %t", forced), func(t *testing.T) { doFailsAtEveryTxn(t, forced) })
	}
}

func doFailsAtEveryTxn(t *testing.T, forced bool) {
	f := newSetup(t)
	txns := 2
	if forced {
		txns = 3
	}
	all := files{"a": regular("a"), "d/b": regular("b"), "d/e/c": regular("c")}
	first := f.deploy(f.repo.commit("first", all))
	before := f.dump()
	all["d/e/c"] = regular("changed")
	commit := f.repo.commit("second", all, first.Hash.OID())
	for n := 0; ; n++ {
		f.clear()
		for key, value := range before {
			f.put(key, value)
		}
		failed := 0
		reached := f.failOnce(n, &failed)
		job := f.job(commit)
		if job.Force = forced; forced {
			job.Reason = "to take the lock first"
		}
		_, _, err := f.do(job)
		f.tap.on(nil)
		if !reached() {
			if n != txns || err != nil {
				t.Errorf("%d txns, %v", n, err)
			}
			break
		}
		complete(t, f.dump())
		if head := f.head(); (head == 2) != (err == nil) || err != nil && !errors.Is(err, errCut) {
			t.Fatalf("txn %d: head %d, %v", n+1, head, err)
		}
		if err != nil {
			f.delete(own + "lock")
			f.deploy(commit)
		}
		f.sameAsGit(f.get(2))
	}
}

// failOnce fails the writing txn n+1 only.
func (f *setup) failOnce(n int, seen *int) (reached func() bool) {
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if !txn.writes() {
			return txn.send()
		}
		f.tap.mu.Lock()
		*seen++
		now := *seen
		f.tap.mu.Unlock()
		if now == n+1 {
			return nil, errCut
		}
		return txn.send()
	})
	return func() bool {
		f.tap.mu.Lock()
		defer f.tap.mu.Unlock()
		return *seen > n
	}
}

// A broken node is written again by the next deploy that has the directory, and nothing of it is signed again.
func TestBrokenNodesOfTheHeadAreWrittenAgain(t *testing.T) {
	all := files{"a": regular("a"), "d/b": regular("b"), "d/e/c": regular("c"), "d/e/g": regular("g")}
	probe := newSetup(t)
	first := probe.deploy(probe.repo.commit("first", all))
	whole := probe.dump()
	for key := range whole {
		if !strings.HasPrefix(key, own+"tree/") {
			continue
		}
		for name, breakIt := range map[string]func(string) string{
			"one digit of a sha256": func(s string) string {
				i := strings.IndexByte(s, '\t') - 1
				return s[:i] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", s[i])+1)%16]) + s[i+1:]
			},
			"garbage": func(string) string { return "garbage" },
			"empty":   func(string) string { return "" },
		} {
			t.Run(name, func(t *testing.T) {
				f := *probe
				f.TB = t
				f.clear()
				for k, v := range whole {
					f.put(k, v)
				}
				f.put(key, breakIt(whole[key]))
				changed := files{"a": regular("a"), "d/b": regular("b"), "d/e/c": regular("changed"), "d/e/g": regular("g")}
				second := f.deploy(f.repo.commit("second", changed, first.Hash.OID()))
				f.sameAsGit(second)
				if second.Record.Files != 4 {
					t.Errorf("%d files", second.Record.Files)
				}
			})
		}
	}
}

func TestProgressOfReadingAndStoring(t *testing.T) {
	f := newSetup(t)
	commit := f.repo.commit("all", files{"a": regular("a"), "b": regular(noise(2*tree.ChunkSize + 1))})
	var last map[string]text.Progress
	tell := func(p text.Progress) {
		if before := last[p.Step]; p.Bytes < before.Bytes || p.Files < before.Files {
			t.Errorf("%+v after %+v", p, before)
		}
		last[p.Step] = p
	}
	last = map[string]text.Progress{}
	if _, _, err := f.chain.Do(t.Context(), holder, f.job(commit), 0, tell); err != nil {
		t.Fatal(err)
	}
	reading, storing := last["reading"], last["storing"]
	if reading.Files != 2 || reading.FilesTotal != 2 || reading.Bytes != 2*tree.ChunkSize+2 {
		t.Errorf("reading %+v", reading)
	}
	if storing.Bytes != storing.BytesTotal || storing.Bytes < reading.Bytes {
		t.Errorf("storing %+v", storing)
	}
}
