package scrub_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/scrub"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Every key that a head needs is put right, whatever happened to it: each node, each chunk, each git object.
func TestRepairsEveryKey(t *testing.T) {
	for name, path := range map[string]string{"the whole tree": "", "a path": "www/e"} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			f.deploy(f.everyKind(), func(job *deploy.Job) { job.Path = path })
			whole := f.Dump()
			f.want("nothing", 0, 0, whole)
			needed := f.needed()
			if len(needed) < 7 {
				t.Fatalf("needed are %v", needed)
			}
			for _, key := range needed {
				value := whole[key]
				damages := map[string]func(){
					"missing": func() { f.Delete(key) },
					"longer":  func() { f.Put(key, value+"\n") },
				}
				if value != "" {
					flipped := []byte(value)
					flipped[len(flipped)/2] ^= 1
					damages["flipped"] = func() { f.Put(key, string(flipped)) }
					damages["cut"] = func() { f.Put(key, value[:len(value)-1]) }
					damages["empty"] = func() { f.Put(key, "") }
				}
				for name, damage := range damages {
					damage()
					f.want(name+" "+key, 1, 0, whole)
					if len(f.found) != 1 || f.found[0].Key != key {
						t.Errorf("%s %s: told is %v", name, key, f.found)
					}
				}
			}
			for _, key := range needed {
				f.Delete(key)
			}
			f.want("all missing", len(needed), 0, whole)
			for _, key := range needed {
				f.Put(key, "x")
			}
			f.want("all altered", len(needed), 0, whole)
		})
	}
}

// A directory so large that its node is cut is put right chunk by chunk.
func TestRepairsLargeNode(t *testing.T) {
	f := newSetup(t)
	all := map[string]fixture.File{}
	for i := range 6000 {
		all[fmt.Sprintf("d/%0100d", i)] = fixture.File{Content: "x"}
	}
	f.deploy(f.Repo.Commit("many", all), nil)
	whole := f.Dump()
	chunks := 0
	for _, key := range f.needed() {
		if strings.Contains(key, "/refship/tree/") {
			f.Put(key, strings.ToUpper(whole[key]))
			f.want(key, 1, 0, whole)
			chunks++
		}
	}
	if chunks != 3 {
		t.Errorf("%d keys with nodes", chunks)
	}
}

// An old node whose sha256 somebody altered still has its git oid: it is found from above, and put right.
func TestRepairsWrongSumInANode(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.everyKind(), nil)
	whole := f.Dump()
	key := f.Store.Chain(f.target.Namespace).TreeKey(d.Record.Tree)
	f.Put(key, string(wrongSum(t, whole[key]).Text()))
	f.want("a wrong sha256", 1, 0, whole)
}

// wrongSum is a node whose first entry has another sha256.
func wrongSum(t *testing.T, text string) *tree.Node {
	t.Helper()
	node, err := tree.ParseNode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	node.Entries[0].SHA256[0] ^= 1
	return node
}

// What a record signed wrong cannot be made right under it. It is told, and nothing is touched.
func TestSignedWrong(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.everyKind(), nil)
	key := f.Store.Chain(f.target.Namespace).TreeKey(d.Record.Tree)
	node := wrongSum(t, f.Dump()[key])
	f.signRoot(d, key, node)
	f.want("signed wrong", 0, 1, f.Dump())
	want := `("a"): it is missing: not repaired: git's blob has 4 bytes of sha256 `
	if said := f.found[0].String(); !strings.Contains(said, want) {
		t.Errorf("told is %s", said)
	}
	f.Delete(key)
	f.want("signed wrong, and gone", 0, 1, f.Dump())
	// With the sum of another file of the tree it is found, too, though that content is there and sound.
	node.Entries[0].SHA256 = node.Entries[1].SHA256
	f.signRoot(d, key, node)
	f.want("signed with another file's", 0, 1, f.Dump())
}

// signRoot puts a root's node, and a record that vouches for it.
func (f *setup) signRoot(d *record.Deploy, key string, root *tree.Node) {
	f.Helper()
	r, text := *d.Record, root.Text()
	r.TreeSHA256 = sha256.Sum256(text)
	f.Put(key, string(text))
	f.sign(&r)
}

// The head's record decides: a head that nothing vouches for, or that the repository does not have, has nothing
// repaired.
func TestTouchesNothing(t *testing.T) {
	content := func(f *setup) string {
		for _, key := range f.needed() {
			if strings.Contains(key, "/storage/") {
				return key
			}
		}
		return ""
	}
	for name, test := range map[string]struct {
		prepare func(f *setup)
		failed  int
		words   string
	}{
		"unsigned": {func(f *setup) {
			f.signer = nil
			f.untrusting(func() { f.deploy(f.everyKind(), nil) })
		}, 1, "its record is not signed"},
		"a stranger's": {func(f *setup) {
			f.signer = fixture.Signer(2)
			f.untrusting(func() { f.deploy(f.everyKind(), nil) })
		}, 1, "is not an allowed signer"},
		"damaged": {func(f *setup) {
			f.deploy(f.everyKind(), nil)
			f.Put("/refship/config/deploy/1/hash", strings.Repeat("1", 40))
		}, 1, "the record says"},
		"no record": {func(f *setup) {
			f.deploy(f.everyKind(), nil)
			f.Put("/refship/config/deploy/2/payload", "x")
		}, 1, "the record is missing"},
		"foreign": {func(f *setup) {
			f.target.Mgmt = true
			f.deploy(f.everyKind(), func(job *deploy.Job) { job.Frontend = record.Empty })
			f.Put("/refship/config/deploy/2/payload", "x")
		}, 0, ""},
		"signers are not known": {func(f *setup) {
			f.deploy(f.everyKind(), nil)
			f.signers = nil
		}, 1, "it is not known whose signatures count"},
		"another repository": {func(f *setup) {
			f.deploy(f.everyKind(), nil)
			f.target.GitDir = fixture.NewRepository(f).Dir
		}, 1, "repository config does not have the head's commit"},
		"no repository": {func(f *setup) {
			f.deploy(f.everyKind(), nil)
			f.target.GitDir += ".gone"
		}, 1, "no such file"},
		"a plain directory": {func(f *setup) {
			dir := f.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a"), []byte("text"), 0o600); err != nil {
				f.Fatal(err)
			}
			read, err := tree.ReadDirectory(f.Context(), tree.FormatSHA1, dir, nil, func(int, int64) {})
			if err != nil {
				f.Fatal(err)
			}
			f.deploy(tree.OID{}, func(job *deploy.Job) { job.Dir, job.Repo = read, nil })
		}, 1, "the head is a plain directory"},
		"a commit with another tree": {func(f *setup) { f.otherCommit() }, 2, "has the tree"},
		"a commit with another tree, and it is stored": {func(f *setup) {
			commit := f.otherCommit()
			raw, err := f.Open().Raw(commit)
			if err != nil {
				f.Fatal(err)
			}
			f.Put("/refship/config/refship/object/"+commit.String(), string(raw))
		}, 2, "has the tree"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			test.prepare(f)
			f.Put(content(f), "damaged")
			f.want(name, 0, test.failed, f.Dump())
			for _, found := range f.found {
				if !strings.Contains(found.String(), test.words) {
					t.Errorf("told is %s, want %q", found, test.words)
				}
			}
		})
	}
}

// otherCommit makes the head's record name another commit than that which has its tree.
func (f *setup) otherCommit() tree.OID {
	f.Helper()
	r := *f.deploy(f.everyKind(), nil).Record
	other := f.Repo.Commit("two", map[string]fixture.File{"a": {Content: "two"}})
	r.Hash = record.CommitHash(other)
	f.Put("/refship/config/deploy/1/hash", string(r.Hash))
	f.sign(&r)
	return other
}

// sign puts a record in place of deploy 1's.
func (f *setup) sign(r *record.Record) {
	f.Helper()
	signed, err := record.NewDeploy(r, f.signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Put("/refship/config/deploy/1/record", string(signed.RecordBytes))
	f.Put("/refship/config/deploy/1/signature", string(signed.Signature))
}

// What only an older deploy needs is neither read nor repaired.
func TestLeavesOlderDeploysAlone(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.Repo.Commit("one", map[string]fixture.File{"a": {Content: "one"}}), nil)
	old := f.Dump()
	f.deploy(f.Repo.Commit("two", map[string]fixture.File{"a": {Content: "two"}}, first.Hash.OID()), nil)
	for key := range old {
		if strings.Contains(key, "/storage/") || strings.Contains(key, "/refship/tree/") {
			f.Put(key, "damaged")
		}
	}
	f.want("damage below the head", 0, 0, f.Dump())
}

// What git has lost cannot be repaired. The rest is, and what is above the lost one stays as it is: a node that is
// there has all below it.
func TestGitLostABlob(t *testing.T) {
	f := newSetup(t)
	f.deploy(f.everyKind(), nil)
	whole := f.Dump()
	lost := fixture.BlobOID("one\n").String()
	if err := os.Remove(filepath.Join(f.Repo.Dir, "objects", lost[:2], lost[2:])); err != nil {
		t.Fatal(err)
	}
	var contents []string
	for _, key := range f.needed() {
		if strings.Contains(key, "/storage/") {
			f.Delete(key)
			contents = append(contents, key)
		}
	}
	left := maps.Clone(whole)
	for _, key := range contents {
		if whole[key] == "one\n" {
			delete(left, key)
		}
	}
	f.want("contents gone", len(contents)-1, 1, left)
	for key := range left {
		if strings.Contains(key, "/refship/tree/") {
			f.Delete(key)
			delete(left, key)
		}
	}
	f.want("nodes gone, too", 0, 1, left)
}

// A key that another process puts right meanwhile is left to it, and a deploy that is published meanwhile is the one
// that counts.
func TestBesideAPush(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.everyKind(), nil)
	whole := f.Dump()
	var key string
	for _, key = range f.needed() {
		if strings.Contains(key, "/storage/") {
			break
		}
	}
	f.Put(key, "damaged")
	f.tap.before = func() { f.Put(key, whole[key]) }
	f.want("put right by another", 0, 0, whole)

	f.Put(key, "damaged")
	f.tap.before = func() { f.Put(key, "damaged again") }
	f.want("damaged twice", 1, 0, whole)

	// The next deploy does not need that content: it is left alone.
	next := f.Repo.Commit("two", map[string]fixture.File{"b": {Content: "two"}}, first.Hash.OID())
	f.Put(key, "damaged")
	f.tap.before = func() { f.deploy(next, nil) }
	result := f.scrub()
	if result.Deploy != 2 || result.Damaged() != 0 || f.Dump()[key] != "damaged" {
		t.Errorf("result %+v, %s holds %.20q", result, key, f.Dump()[key])
	}
	// This one does.
	again := f.Repo.Commit("three", map[string]fixture.File{"b": {Content: "two"}, "c": {Content: "three"}}, next)
	var needed string
	for at, value := range f.Dump() {
		if value == "two" {
			needed = at
		}
	}
	f.Put(needed, "damaged")
	f.tap.before = func() { f.deploy(again, nil) }
	result = f.scrub()
	if result.Deploy != 3 || result.Repaired != 1 || f.Dump()[needed] != "two" {
		t.Errorf("result %+v, %s holds %.20q", result, needed, f.Dump()[needed])
	}
}

// Keys below deploy/ that belong to no deploy are named with the command that removes them.
func TestStrays(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.everyKind(), nil)
	f.deploy(f.Repo.Commit("two", map[string]fixture.File{"a": {Content: "two"}}, d.Hash.OID()), nil)
	if r := f.scrub(); len(r.Strays) != 0 {
		t.Fatalf("strays %v", r.Strays)
	}
	const below = "/refship/config/deploy/"
	for _, key := range []string{"1/meta/x", "latest", "9/hash", "9/payload", "9007199254740993/hash",
		"9007199254740993/record", "99999999999999999999/payload", "007/hash", "it's"} {
		f.Put(below+key, "x")
	}
	r := f.scrub()
	var got []string
	for _, s := range r.Strays {
		got = append(got, s.Remedy())
	}
	want := []string{
		"etcdctl del " + below + "007/hash",
		"etcdctl del " + below + "1/meta/x",
		"etcdctl del --prefix " + below + "9/",
		"etcdctl del --prefix " + below + "9007199254740993/",
		"etcdctl del --prefix " + below + "99999999999999999999/",
		`etcdctl del '` + below + `it'\''s'`,
		"etcdctl del " + below + "latest",
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Deploy != 2 || r.Damaged() != 0 {
		t.Errorf("want -, got +:\n%s%+v", diff, r)
	}
	for i := range 300 {
		f.Put(fmt.Sprintf("%sx%d", below, i), "")
	}
	if r := f.scrub(); len(r.Strays) != 20 || r.MoreStrays != 300+7-20 {
		t.Errorf("%d strays, and %d more", len(r.Strays), r.MoreStrays)
	}
}

// A chain without a deploy has nothing to scrub.
func TestEmptyChain(t *testing.T) {
	f := newSetup(t)
	f.want("empty", 0, 0, map[string]string{})
}

// A gentle scrub rests, and ends with its context in the middle of a rest.
func TestStops(t *testing.T) {
	f := newSetup(t)
	f.deploy(f.everyKind(), nil)
	f.gentle = true
	f.want("gentle", 0, 0, f.Dump())
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := fmt.Errorf("stopped")
	reads := 0
	result, err := scrub.Run(ctx, scrub.Config{Store: f.Store, Gentle: true, Progress: func(text.Progress) {
		if reads++; reads == 3 {
			cancel(stopped)
		}
	}}, f.target)
	fixture.WantError(t, err, stopped, "scrub /refship/config: stopped", "")
	if reads != 3 || result.Keys == 0 {
		t.Errorf("%d reads, %+v", reads, result)
	}
}
