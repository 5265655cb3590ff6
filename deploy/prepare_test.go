package deploy_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

func TestPreparedCountsAndListsWhatChanges(t *testing.T) {
	f := newSetup(t)
	f.deploy(f.repo.commit("first", files{
		"kept": regular("k"), "content": regular("1"), "mode": regular("m"), "kind": regular("target"), "gone": regular("g"),
		"dir/gone too":        regular("g"),
		"becomes a directory": regular("f"), "was/a/directory": regular("d"), "module": {"160000", oid160},
		"module gone": {"160000", oid160},
	}))
	second := files{
		"kept": regular("k"), "content": regular("2"), "mode": {"100755", "m"}, "kind": {"120000", "target"},
		"new":                      regular("n"),
		"becomes a directory/file": regular("f"), "was": regular("d"), "module": {"160000", strings.Repeat("5d", 20)},
		"module new": {"160000", oid160},
		"was-not":    regular("order"),
	}
	p, _ := f.prepare(f.job(f.repo.commit("second", second, f.get(1).Hash.OID())))
	want := []string{
		"D becomes a directory", "A becomes a directory/file", "M content", "D dir/gone too", "D gone", "M kind", "M mode",
		"A new",
		"A was", "A was-not", "D was/a/directory",
	}
	if diff := cmp.Diff(want, listed(p.Listed)); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if got := [5]int{p.Files, p.Changed, p.Added, p.Modified, p.Deleted}; got != [5]int{8, 11, 4, 3, 4} {
		t.Errorf("%v files, changed, added, modified, deleted", got)
	}
	slices.Sort(p.Submodules)
	if diff := cmp.Diff([]string{"module", "module new"}, p.Submodules); diff != "" {
		t.Errorf("submodules (-want +got):\n%s", diff)
	}
}

// listed writes changes as git diff --name-status does.
func listed(changes []store.Change) []string {
	var lines []string
	for _, c := range changes {
		what := "M"
		switch {
		case c.Old == nil:
			what = "A"
		case c.New == nil:
			what = "D"
		}
		lines = append(lines, what+" "+c.Path)
	}
	return lines
}

// maxListed is how many changes a Prepared lists: see package plan.
const maxListed = 1000

// Of very many changes the first by path are listed, however deep they lie.
func TestPreparedListsTheFirstOfManyChanges(t *testing.T) {
	f := newSetup(t)
	all := files{}
	var want []string
	for i := range 3 * maxListed {
		path := fmt.Sprintf("%d/%s%d", i%7, strings.Repeat("deep/", i%4), i)
		all[path] = regular(fmt.Sprint(i % 10))
		want = append(want, "A "+path)
	}
	slices.Sort(want)
	p, _ := f.prepare(f.job(f.repo.commit("many", all)))
	if diff := cmp.Diff(want[:maxListed], listed(p.Listed)); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if p.Added != len(all) || p.Changed != len(all) {
		t.Errorf("%d added, %d changed", p.Added, p.Changed)
	}
}

func TestPrepareWithoutALockIsOnlyToBeLookedAt(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.repo.commit("first", files{"a": regular("1"), "b": regular("1")}))
	second := f.repo.commit("second", files{"a": regular("2"), "c": regular("new content")}, first.Hash.OID())
	f.put(own+"lock", "somebody pushes, and is not waited for")
	before := f.dump()
	p, err := f.chain.Prepare(t.Context(), nil, f.job(second), quiet)
	if err != nil {
		t.Fatal(err)
	}
	if got := [4]int{p.Added, p.Modified, p.Deleted, p.NewContents}; got != [4]int{1, 1, 1, 2} ||
		p.NewBytes < int64(len("2new content")) {
		t.Errorf("%v added, modified, deleted, new; %d bytes", got, p.NewBytes)
	}
	if _, err := f.store.TakeRoom(t.Context(), []*deploy.Prepared{p}); err != nil {
		t.Error(err)
	}
	if err := p.Upload(t.Context(), quiet); err == nil || !strings.Contains(err.Error(), "without a lock") {
		t.Errorf("upload: %v", err)
	}
	if d, err := p.Publish(t.Context()); err == nil || errors.Is(err, deploy.ErrLockLost) ||
		!strings.Contains(err.Error(), "without a lock") {
		t.Errorf("publish: %+v, %v", d, err)
	}
	f.unchanged(before)
}

func TestAFileOverTheServersLimitIsRefused(t *testing.T) {
	f := newSetup(t)
	large := noise(tree.ChunkSize + 1)
	first := f.repo.commit("first", files{"dir/ok": regular(large[:5000]), "dir/large\x1b": regular(large)})
	job := f.job(first)
	job.MaxFile = tree.ChunkSize
	_, _, err := f.do(job)
	fixture.WantFault(t, fault.Refused, err,
		`"dir/large\x1b" is 1 MiB (1048577 bytes); the limit is 1 MiB (1048576 bytes)`, "file-large")
	if keys := f.dump(); len(keys) != 0 {
		t.Errorf("etcd has %d keys", len(keys))
	}
	job.MaxFile++
	if _, _, err := f.do(job); err != nil {
		t.Errorf("of exactly the limit: %v", err)
	}
	// What is deployed already is no new content, and keeps nobody from going on.
	second := f.job(f.repo.commit("second", files{"dir/ok": regular("other"), "dir/large\x1b": regular(large)}, first))
	second.MaxFile = 100
	if _, _, err := f.do(second); err != nil {
		t.Errorf("of an old one: %v", err)
	}
	third := f.job(f.repo.commit("third", files{"dir/ok": regular(large[:101])}, second.Commit))
	third.MaxFile = 100
	_, _, err = f.do(third)
	fixture.WantFault(t, fault.Refused, err, `"dir/ok" is 101 B; the limit is 100 B`, "file-large")
}

// A file that is too large is refused by its size: its content is not read.
func TestATooLargeFileIsNotRead(t *testing.T) {
	f := newSetup(t)
	job := f.job(f.repo.commit("first", files{"a": regular("small"), "large": regular(noise(8 << 20))}))
	job.MaxFile = 1 << 20
	read := int64(0)
	_, err := f.chain.Prepare(t.Context(), nil, job, func(p text.Progress) { read = max(read, p.Bytes) })
	fixture.WantFault(t, fault.Refused, err, `"large" is 8 MiB`, "")
	if read > int64(len("small")) {
		t.Errorf("%d bytes were read", read)
	}
	// And the repository can be read on.
	if err := job.Repo.Blobs(t.Context(), []tree.OID{f.repo.OID("rev-parse", "main:a")},
		func(_ int, _ int64, r io.Reader) error {
			b, err := io.ReadAll(r)
			if string(b) != "small" {
				t.Errorf("read %q", b)
			}
			return err
		}); err != nil {
		t.Error(err)
	}
}

// What was dropped has its results and cannot be uploaded; what was uploaded need not be again.
func TestDroppedAndUploaded(t *testing.T) {
	f := newSetup(t)
	commit := f.repo.commit("first", files{"a": regular("a"), "d/b": regular("b")})
	p, lock := f.prepare(f.job(commit))
	p.Drop()
	p.Drop() // twice is as good as once
	if err := p.Upload(t.Context(), quiet); err == nil || p.Changed != 2 || len(p.Listed) != 2 {
		t.Errorf("what was dropped was uploaded, or has no result: %+v", p.Summary)
	}
	p, err := f.chain.Prepare(t.Context(), lock, f.job(commit), quiet)
	if err != nil {
		t.Fatal(err)
	}
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if txn.writes() {
			return nil, errCut
		}
		return txn.send()
	})
	for range 2 {
		if err := p.Upload(t.Context(), quiet); !errors.Is(err, errCut) {
			t.Fatal(err)
		}
	}
	f.tap.on(nil)
	for range 2 { // twice is as good as once
		if err := p.Upload(t.Context(), quiet); err != nil {
			t.Fatal(err)
		}
	}
	d, err := p.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.sameAsGit(d)
}
