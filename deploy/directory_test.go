package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// write makes files below dir, as commit makes them in a commit.
func (f *setup) write(dir string, all files) {
	f.Helper()
	for name, one := range all {
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case err != nil:
		case one.mode == "120000":
			err = os.Symlink(one.content, at)
		case one.mode == "100755":
			err = os.WriteFile(at, []byte(one.content), 0o755)
		default:
			err = os.WriteFile(at, []byte(one.content), 0o644)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
}

// dirJob is the job that deploys a directory as it is now.
func (f *setup) dirJob(dir string, exclude ...string) *deploy.Job {
	f.Helper()
	d, err := tree.ReadDirectory(f.Context(), tree.FormatSHA1, dir, exclude, func(int, int64) {})
	if err != nil {
		f.Fatal(err)
	}
	return &deploy.Job{
		Kind: record.KindDeploy, Dir: d, Frontend: record.Files,
		Pusher: record.Pusher{Name: "ada", Via: "os"}, Server: "host", Signer: f.signer,
	}
}

func (f *setup) deployDir(dir string) *record.Deploy {
	f.Helper()
	d, already, err := f.do(f.dirJob(dir))
	if err != nil || already {
		f.Fatalf("deploy %s: already %t, %v", dir, already, err)
	}
	return f.get(d.ID)
}

// sameAsDirectory checks that a deploy reads back as what lies in a directory, and proves it from etcd alone.
func (f *setup) sameAsDirectory(d *record.Deploy, dir string) {
	f.Helper()
	if d.Hash != record.TreeHash(d.Record.Tree) {
		f.Errorf("deploy hash %s of tree %s", d.Hash, d.Record.Tree)
	}
	out := filepath.Join(f.TempDir(), "out")
	if err := f.chain.Checkout(f.Context(), d, out, quiet); err != nil {
		f.Fatal(err)
	}
	if diff := cmp.Diff(manifest(f, dir), manifest(f, out)); diff != "" {
		f.Errorf("checkout of deploy %d (-directory +checkout):\n%s", d.ID, diff)
	}
	again, err := tree.ReadDirectory(f.Context(), tree.FormatSHA1, out, nil, func(int, int64) {})
	if err != nil || again.Root() != d.Record.Tree || again.Files != d.Record.Files {
		f.Errorf("checkout of deploy %d: tree %s, %v; record %s", d.ID, again.Root(), err, d.RecordBytes)
	}
	err = f.chain.List(f.Context(), d, "", true, func(path string, e tree.Entry) error {
		var content bytes.Buffer
		if err := f.chain.Cat(f.Context(), d, &content, path); err != nil {
			return err
		}
		if int64(content.Len()) != e.Size || sha256Hex(content.Bytes()) != e.SHA256.String() {
			f.Errorf("cat %q", path)
		}
		return nil
	})
	if err != nil {
		f.Error(err)
	}
	if n := f.objects(); n != 0 {
		f.Errorf("%d git objects are stored", n)
	}
}

func TestDeploysOfADirectory(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir := filepath.Join(t.TempDir(), "si\x1bte")
	f.write(dir, files{
		"a": regular("one"), "run": {"100755", "#!/bin/sh\n"}, "sub/link": {"120000", "../a"}, "sub/same": regular("one"),
		"sub/empty": regular(""),
		"large":     regular(strings.Repeat("0123456789", 250_000)),
	})
	first := f.deployDir(dir)
	r := *first.Record
	r.Chain, r.Time, r.TreeSHA256, r.TreeSize, r.Tree, r.Hash = "", time.Time{}, tree.SHA256{}, 0, tree.OID{}, ""
	want := record.Record{
		Format: 1, Namespace: namespace, ID: 1, Kind: record.KindDeploy, Undone: []record.Undone{}, Files: 6,
		Frontend: record.Files, Settings: map[string]string{},
		Subject: "directory si\x1bte", Pusher: record.Pusher{Name: "ada", Via: "os"}, Server: "host", Signer: r.Signer,
	}
	if diff := cmp.Diff(want, r, cmpopts.EquateComparable(tree.OID{})); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	f.sameAsDirectory(first, dir)
	before := f.dump()
	if d, already, err := f.do(f.dirJob(dir)); err != nil || !already || d.ID != 1 {
		t.Errorf("the same again: already %t, %v", already, err)
	}
	f.unchanged(before)

	f.write(dir, files{"a": regular("two"), "sub/new": regular("new")})
	edited := f.deployDir(dir)
	f.sameAsDirectory(edited, dir)
	if err := os.Chmod(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	dry, err := f.chain.Prepare(t.Context(), nil, f.dirJob(dir), quiet)
	if err != nil || dry.Modified != 1 || dry.Changed != 1 || dry.NewContents != 0 || dry.Files != 7 ||
		len(dry.Verdict.Commits) != 0 {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	moded := f.deployDir(dir)
	f.sameAsDirectory(moded, dir)
	var changes []string
	for _, pair := range [][2]*record.Deploy{{first, edited}, {edited, moded}} {
		err := f.chain.Diff(t.Context(), pair[0], pair[1], func(c store.Change) error {
			changes = append(changes, fmt.Sprintf("%d %s", pair[1].ID, c.Path))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"2 a", "2 sub/new", "3 a"}, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	f.provenChain(3)
	f.sameAsDirectory(f.get(1), checkedOut(f, first))
	for _, d := range []*record.Deploy{first, edited, moded} {
		if err := f.sshVerify(d.RecordBytes, d.Signature); err != nil {
			t.Error(err)
		}
	}
}

// checkedOut checks a deploy out and gives where.
func checkedOut(f *setup, d *record.Deploy) string {
	f.Helper()
	out := filepath.Join(f.TempDir(), "out")
	if err := f.chain.Checkout(f.Context(), d, out, quiet); err != nil {
		f.Fatal(err)
	}
	return out
}

func TestEmptyDirectoryIsDeployed(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir := t.TempDir()
	d := f.deployDir(dir)
	f.sameAsDirectory(d, dir)
	f.write(dir, files{"a": regular("a")})
	f.sameAsDirectory(f.deployDir(dir), dir)
	if d.Record.Files != 0 || d.Record.Tree != tree.HashObject(tree.FormatSHA1, "tree", nil) {
		t.Errorf("record %s", d.RecordBytes)
	}
}

// Neither a commit follows a directory by itself nor the other way round, even where the content is the same.
func TestDirectoriesAndCommits(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	all := files{"a": regular("one")}
	dir, commit := filepath.Join(t.TempDir(), "site"), f.repo.commit("one", all)
	f.write(dir, all)
	f.deploy(commit)
	job := f.dirJob(dir)
	short := record.Hash("tree:" + job.Dir.Root().String()).Short()
	refused := func(job *deploy.Job, why, hint string) {
		t.Helper()
		before := f.dump()
		_, _, err := f.do(job)
		wantError[*deploy.ConflictError](t, err, why, hint)
		f.unchanged(before)
		job.Force = true
		_, _, err = f.do(job)
		fixture.WantFault(t, fault.Refused, err, "a forced deploy needs a reason", "say why")
		job.Reason = "to be sure"
		d, _, err := f.do(job)
		if err != nil || !d.Record.Forced || d.Record.Reason != "to be sure" {
			t.Fatalf("forced: %+v, %v", d, err)
		}
	}
	refused(job, `"one", by ada, just now; that is commit `+commit.String()[:7]+", and your "+short+
		" is a plain directory",
		"head-is-commit deploy")
	if d := f.get(2); d.Record.Commits != 0 || f.objects() != 1 {
		t.Errorf("record %s", d.RecordBytes)
	}
	f.write(dir, files{"a": regular("two")})
	f.deployDir(dir)
	push := f.job(commit)
	refused(push, `"directory site", by ada, just now; that is a plain directory, and your `+commit.String()[:7]+
		" is a commit", "head-is-directory push")
	hand := f.dirJob(dir)
	refused(hand, "is a plain directory", "head-is-commit deploy")
	byHand := f.job(commit)
	byHand.Kind = record.KindDeploy
	refused(byHand, "is a commit", "head-is-directory deploy")
	f.provenChain(6)

	f.clear()
	f.foreign(1, "")
	foreign := f.dirJob(dir)
	foreign.Frontend = record.Empty
	refused(foreign, "without a hash, by another writer; that deploy has no hash", "head-without-hash deploy")
	// A chain is either refship's own or mgmt's, forced or not.
	files := f.dirJob(dir)
	files.Force, files.Reason = true, "because"
	_, _, err := f.do(files)
	fixture.WantFault(t, fault.Refused, err, "this one is of the frontend files", "namespace-mixed")
}

func TestDirectoryAfterARollback(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir := t.TempDir()
	f.write(dir, files{"a": regular("one")})
	job := f.dirJob(dir)
	for previous, undoes := range map[string]bool{job.Dir.Root().String(): true, strings.Repeat("cd", 20): false} {
		f.headKeys(&record.Record{
			ID: 7, Kind: record.KindRollback, Hash: record.Hash("tree:" + strings.Repeat("ab", 20)),
			PreviousHash: record.Hash("tree:" + previous),
			Undone:       []record.Undone{{ID: 6, Hash: record.Hash("tree:" + previous)}},
		}, "")
		job.Again = nil
		if undoes {
			_, err := f.chain.Check(t.Context(), job)
			fixture.WantFault(t, fault.Conflict, err, "is that of deploy 6, which", "head-undone deploy 7")
			job.Again = []record.ID{7}
		}
		v := f.verdict(job)
		if (len(v.Back) != 0) != undoes || v.Forced != nil {
			t.Errorf("brings back %v, want %t", v.Back, undoes)
		}
	}
	d, _, err := f.do(job)
	if err != nil {
		t.Fatal(err)
	}
	f.sameAsDirectory(d, dir)
}

func TestRelationOfADirectory(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir := t.TempDir()
	f.write(dir, files{"a": regular("one")})
	wantRelation := func(want deploy.Relation) {
		t.Helper()
		state, err := f.chain.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s, ahead, err := f.dirJob(dir).Relation(t.Context(), state.Head); s != want || ahead != 0 || err != nil {
			t.Errorf("%s, %d ahead, %v; want %s", s, ahead, err, want)
		}
	}
	wantRelation(deploy.RelationEmpty)
	f.deployDir(dir)
	wantRelation(deploy.RelationEqual)
	f.write(dir, files{"a": regular("two")})
	wantRelation(deploy.RelationAhead)
	f.clear()
	f.deploy(f.one())
	wantRelation(deploy.RelationDiverged)
}

// A file that changes is never deployed as what it was, nor half of each.
func TestDirectoryThatChanges(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	large := strings.Repeat("0123456789", 250_000)
	for name, change := range map[string]files{"another content": {"large": regular(strings.Replace(large, "9", "x", 1))},
		"longer": {"large": regular(large + "0")}} {
		dir := t.TempDir()
		f.write(dir, files{"a": regular("one"), "large": regular(large)})
		job := f.dirJob(dir)
		p, lock := f.prepare(job)
		f.write(dir, change)
		fixture.WantFault(t, fault.Failed, p.Upload(t.Context(), quiet), `"large" changed while it was read`,
			"deploy again when nothing writes to it")
		if err := lock.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		// Between reading the directory and preparing.
		_, _, err := f.do(job)
		if !errors.Is(err, tree.ErrChanged) || err.Error() != `"large" changed while it was read` {
			t.Errorf("%s: %v", name, err)
		}
		if head, err := f.chain.Head(t.Context()); head != nil || err != nil {
			t.Errorf("%s: deploy %+v, %v", name, head, err)
		}
	}
}

// The smaller ones are read once, and what was read is what is deployed.
func TestDirectoryThatChangesAfterItWasRead(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir := t.TempDir()
	f.write(dir, files{"a": regular("one")})
	p, _ := f.prepare(f.dirJob(dir))
	f.write(dir, files{"a": regular("two")})
	if err := p.Upload(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	d, err := p.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.write(dir, files{"a": regular("one")})
	f.sameAsDirectory(d, dir)
}

func TestDirectoryForMgmt(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir, out := t.TempDir(), t.TempDir()
	f.write(dir, files{"main.mcl": regular("print \"hello\" {}\n"), "files/large": regular(strings.Repeat("x", 1_100_000)),
		"link": {"120000", "files/large"}})
	job := f.dirJob(dir)
	job.Frontend = record.Auto
	if err := f.verdict(job).WriteTree(t.Context(), job.Source(), out, 1<<30, quiet); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(manifest(t, dir), manifest(t, out)); diff != "" {
		t.Errorf("written out (-directory +written):\n%s", diff)
	}
	d, _, err := f.do(job)
	if err != nil {
		t.Fatal(err)
	}
	keys := f.dump()
	if d.Record.Frontend != record.Lang || keys[namespace+"/deploy/1/payload"] == "" {
		t.Errorf("record %s", d.RecordBytes)
	}
	f.sameAsDirectory(d, dir)
	if d, already, err := f.do(job); err != nil || !already || d.ID != 1 {
		t.Errorf("again: already %t, %v", already, err)
	}
}

func TestDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir := t.TempDir()
	f.write(dir, files{".git/config": regular("x"), "large": regular("0123456789")})
	_, err := tree.ReadDirectory(t.Context(), tree.FormatSHA1, dir, nil, func(int, int64) {})
	fixture.WantFault(t, fault.Refused, err, `".git" is git's own name`, "leave it out, or deploy the commit instead")
	job := f.dirJob(dir, ".git")
	job.MaxFile = 9
	_, _, err = f.do(job)
	fixture.WantFault(t, fault.Refused, err, `"large" is 10 B; the limit is 9 B`, "file-large")
	for name, change := range map[string]func(j *deploy.Job){
		"and a commit": func(j *deploy.Job) { j.Commit = f.one() },
		"and a path":   func(j *deploy.Job) { j.Path = "sub" },
		"neither":      func(j *deploy.Job) { j.Dir = nil },
	} {
		job := f.dirJob(dir, ".git")
		change(job)
		if _, err := f.chain.Check(t.Context(), job); err == nil || !strings.HasPrefix(err.Error(), "job has ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A record whose deploy hash is not its tree.
	f.handwritten(record.Record{ID: 1, Hash: record.Hash("tree:" + strings.Repeat("ab", 20))})
	keys := f.dump()
	f.put(namespace+"/deploy/1/record", strings.Replace(keys[namespace+"/deploy/1/record"], `"tree":"ab`, `"tree":"cd`, 1))
	_, err = f.chain.Head(t.Context())
	fixture.WantFault(t, fault.Corrupt, err, "hash is out of bounds: tree:abab", "restore it from a backup")
}
