package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// largeTree is more than a plan keeps in memory, and yet quickly made: below a directory 36 files of 1 MiB, one of more
// than a chunk, one that is too large to be held, and more small ones than a txn takes.
func largeTree(dir string) files {
	all := files{
		"chunks": padded("chunks", 3<<19), "huge": padded("huge", 9<<20), "executable": {"100755", noise(2000)},
		"link": {"120000", "huge"}, "same": padded("file 7", 1<<20), "deep/er/est": padded("deep", 5000),
	}
	for i := range 36 {
		all[fmt.Sprintf("files/%d", i)] = padded(fmt.Sprint("file ", i), 1<<20)
	}
	for i := range 150 {
		all[fmt.Sprintf("small/%d", i)] = regular(fmt.Sprint("content ", i))
		all[fmt.Sprintf("medium/%d/file", i)] = padded(fmt.Sprint("medium ", i), 2000)
	}
	below := files{}
	for name, f := range all {
		below[dir+name] = f
	}
	return below
}

// padded is a file that git packs a thousandfold.
func padded(start string, size int) file {
	return regular(start + strings.Repeat("\x00", size-len(start)))
}

// exactlyStored wants what is counted to be what is there.
func (f *setup) exactlyStored() {
	f.Helper()
	if got := f.stored(); got.Bytes != f.holds() || got.Unsure != 0 {
		f.Errorf("%+v, want %d", got, f.holds())
	}
}

func TestALargeTreeIsReadOnce(t *testing.T) {
	asked := spyGit(t)
	f := newSetup(t)
	commit := f.repo.commit("large", largeTree(""))
	p, _ := f.prepareChecked(f.job(commit))
	if p.AtMost || p.NewContents != 40+2*150+1 {
		t.Errorf("in an empty namespace: %d contents, at most: %t", p.NewContents, p.AtMost)
	}
	announced, last := p.NewBytes, text.Progress{}
	err := p.Upload(t.Context(), func(now text.Progress) {
		if now.Bytes < last.Bytes || now.BytesTotal != announced {
			t.Errorf("%s after %s", now, last)
		}
		last = now
	})
	if err != nil || last.Bytes != announced {
		t.Fatal(last, err)
	}
	times := map[string]int{}
	for _, oid := range asked() {
		times[oid]++
	}
	huge := f.repo.Git("rev-parse", commit.String()+":huge")
	for _, line := range strings.Split(f.repo.Git("ls-tree", "-r", commit.String()), "\n") {
		want, oid := 1, strings.Fields(line)[2]
		if oid == huge {
			want = 2
		}
		if times[oid] != want {
			t.Errorf("read %d times: %s", times[oid], line)
		}
	}
	var bytes int64
	for key, value := range f.dump() {
		if key != own+"lock" && key != own+"stored" {
			bytes += int64(len(value))
		}
	}
	if bytes != announced || bytes != p.NewBytes {
		t.Errorf("announced %d bytes, then said %d; wrote %d", announced, p.NewBytes, bytes)
	}
	d, err := p.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.sameAsGit(d)
	f.exactlyStored()
	complete(t, f.dump())
}

// Whatever can refuse a large tree does so before anything of it is stored.
func TestARefusedLargeTreeStoresNothing(t *testing.T) {
	for name, c := range map[string]struct {
		with  files
		max   int64
		limit record.Limit
		quota int64
		want  fault.Kind
		words string
	}{
		"link": {with: files{"z": {"120000", "a\x00b"}}, want: fault.Refused, words: "has a NUL"},
		"pointer": {with: files{".gitattributes": regular("*.bin filter=lfs\n"), "z.bin": regular(lfsPointer)},
			want: fault.Refused, words: "is a Git LFS pointer"},
		"file":  {max: 8 << 20, want: fault.Refused, words: `"huge" is `},
		"room":  {quota: 40 << 20, limit: record.NoLimit, want: fault.Unavailable, words: "of the quota of 40 MiB"},
		"limit": {limit: 40 << 20, want: fault.Refused, words: "the limit is 40 MiB"},
	} {
		f := newSetupOn(t, fixture.StartEtcd(t, embedded.Config{Quota: c.quota}).Client())
		all := largeTree("")
		for name, file := range c.with {
			all[name] = file
		}
		job := f.limited(f.repo.commit(name, all), c.limit)
		job.MaxFile = c.max
		_, _, err := f.do(job)
		if !fault.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
		if keys := f.dump(); len(keys) != 0 {
			t.Errorf("%s: etcd has %d keys", name, len(keys))
		}
	}
}

const lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" +
	"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// What etcd has already is known only while the tree is read: until then the amounts are upper bounds.
func TestALargeTreeThatEtcdHas(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.repo.commit("first", largeTree("a/")))
	moved := f.repo.commit("moved", largeTree("b/c/"), first.Hash.OID())
	p, err := f.chain.Prepare(t.Context(), nil, f.job(moved), quiet)
	if err != nil || p.AtMost || p.NewContents != 0 {
		t.Fatal("a dry run does not know what is there", err)
	}
	rehearsed := p.NewBytes
	p, lock := f.prepareChecked(f.job(moved))
	if !p.AtMost || p.NewBytes < 36<<20 {
		t.Errorf("at most: %t, %d bytes", p.AtMost, p.NewBytes)
	}
	if err := p.Upload(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if p.AtMost || p.NewContents != 0 || p.NewBytes != rehearsed {
		t.Errorf("at most: %t, %d bytes, want %d", p.AtMost, p.NewBytes, rehearsed)
	}
	f.exactlyStored()
	f.wantPutOnce()
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	// With the limit that it needs it is read before, since the upper bound would be too much.
	p, _ = f.prepareChecked(f.limited(moved, record.Limit(f.holds()+1<<20)))
	if p.AtMost || p.NewContents != 0 || p.NewBytes != 0 {
		t.Errorf("at most: %t, %d contents, %d bytes", p.AtMost, p.NewContents, p.NewBytes)
	}
	if err := p.Upload(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	d, err := p.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.sameAsGit(d)
	f.exactlyStored()
}

// wantPutOnce wants no content to have been put twice. One of several chunks may lack some of them.
func (f *setup) wantPutOnce() {
	f.Helper()
	resp, err := f.tap.KV.Get(f.Context(), namespace+"/storage/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || len(resp.Kvs) == 0 {
		f.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		_, chunk, _ := strings.Cut(string(kv.Key), "}")
		if kv.Version != 1 && !strings.Contains(chunk, "/") {
			f.Errorf("%s was put %d times", kv.Key, kv.Version)
		}
	}
}

// Wherever the upload of a large tree is cut off, no less is counted than is there, and both the same plan and another
// one go on.
func TestALargeTreeIsCutOff(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	commit := f.repo.commit("large", largeTree(""))
	for n := 0; ; n += 13 {
		f.clear()
		f.put(namespace+"/storage/{sha256}other", "not alone")
		p, lock := f.prepareChecked(f.job(commit))
		reached := f.cutAt(n)
		err := p.Upload(t.Context(), quiet)
		f.tap.on(nil)
		if !reached() {
			if err != nil || n < 39 {
				t.Errorf("%d txns: %v", n, err)
			}
			break
		}
		if got := f.stored(); !errors.Is(err, errCut) || got.Bytes < f.holds() || got.Bytes-got.Unsure > f.holds() {
			t.Errorf("cut at txn %d: %+v, and %d are there: %v", n+1, got, f.holds(), err)
		}
		complete(t, f.dump())
		if n%2 == 0 {
			if err := p.Upload(t.Context(), quiet); err != nil {
				t.Fatal(err)
			}
			f.exactlyStored()
		} else {
			if err := lock.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p, _ = f.prepareChecked(f.job(commit)); !p.AtMost {
				t.Error("what is there is not asked for")
			}
			if err := p.Upload(t.Context(), quiet); err != nil {
				t.Fatal(err)
			}
			f.wantPutOnce()
		}
		if _, err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		complete(t, f.dump())
	}
}

// The upload of a large tree ends where the lock is lost, and begins anew with another.
func TestALargeTreeLosesItsLock(t *testing.T) {
	f := newSetup(t)
	p, _ := f.prepareChecked(f.job(f.repo.commit("large", largeTree(""))))
	writes := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		f.tap.mu.Lock()
		writes++
		now := writes
		f.tap.mu.Unlock()
		if now == 10 {
			f.delete(own + "lock")
		}
		return txn.send()
	})
	err := p.Upload(t.Context(), quiet)
	f.tap.on(nil)
	if !errors.Is(err, deploy.ErrLockLost) || writes > 20 {
		t.Errorf("after %d txns: %v", writes, err)
	}
	if got := f.stored(); got.Bytes < f.holds() {
		t.Errorf("%+v, and %d are there", got, f.holds())
	}
	for key := range f.dump() {
		if strings.HasPrefix(key, own+"tree/") {
			t.Errorf("%s is there", key)
		}
	}
	f.sameAsGit(f.deploy(p.Verdict.Commits[0]))
}

// A large plain directory is read while it is stored, too. What has changed since it was looked at ends that before a
// node is there.
func TestALargeDirectory(t *testing.T) {
	f, dir := newSetup(t), t.TempDir()
	for name, file := range largeTree("") {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if file.mode == "120000" {
			if err := os.Symlink(file.content, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		f.writeFile(filepath.Join(dir, name), file.content)
	}
	p, lock := f.prepareChecked(f.dirJob(dir))
	f.writeFile(filepath.Join(dir, "files/20"), padded("changed", 1<<20).content)
	if err := p.Upload(t.Context(), quiet); !errors.Is(err, tree.ErrChanged) {
		t.Errorf("a file has changed: %v", err)
	}
	for key := range f.dump() {
		if strings.HasPrefix(key, own+"tree/") {
			t.Errorf("%s is there", key)
		}
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := f.deployDir(dir)
	out := filepath.Join(t.TempDir(), "out")
	if err := f.chain.Checkout(t.Context(), d, out, quiet); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("diff", "-r", "--no-dereference", dir, out).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
