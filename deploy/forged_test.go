package deploy_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
	"refship/keys"
)

// A record that somebody wrote over is noticed by everything that reads it: the signature is not over those bytes.
func TestForgedRecord(t *testing.T) {
	f := newSetup(t)
	var parents []tree.OID
	for _, content := range []string{"one\n", "two\n", "three\n"} {
		parents = []tree.OID{f.repo.commit(content, files{"a.txt": regular(content)}, parents...)}
		f.deploy(parents[0])
	}
	key := "/refship/config/deploy/2/record"
	stored, err := f.client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(stored.Kvs[0].Value, []byte(`"name":"ada"`), []byte(`"name":"eve"`), 1)
	if bytes.Equal(forged, stored.Kvs[0].Value) {
		t.Fatalf("nothing to forge in %s", forged)
	}
	if _, err := f.client.Put(t.Context(), key, string(forged)); err != nil {
		t.Fatal(err)
	}
	_, err = f.chain.Get(t.Context(), 2)
	fixture.WantFault(t, fault.Corrupt, err, "deploy/2/signature", "")
	var seen, damaged []record.ID
	err = f.chain.Log(t.Context(), 0, func(d *record.Deploy) error {
		seen = append(seen, d.ID)
		if d.Damage != nil {
			damaged = append(damaged, d.ID)
			fixture.WantFault(t, fault.Corrupt, d.Damage, "deploy/2/signature", "")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if len(seen) != 3 || len(damaged) != 1 || damaged[0] != 2 {
		t.Errorf("Log told of %v, damaged %v", seen, damaged)
	}
}

// A signature by another key than the record names proves nothing.
func TestSignatureByAnotherKey(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.repo.commit("one", files{"a.txt": regular("one\n")}))
	forged, err := keys.Sign(fixture.Signer(2), "refship", d.RecordBytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Put(t.Context(), "/refship/config/deploy/1/signature", string(forged)); err != nil {
		t.Fatal(err)
	}
	_, err = f.chain.Get(t.Context(), 1)
	fixture.WantFault(t, fault.Corrupt, err, "the record names the signer", "")
}

func TestPathsThatAreNotThere(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.repo.commit("one", files{"dir/a.txt": regular("one\n")}))
	for path, want := range map[string]string{
		"nope":        `there is no "nope" in the deploy's root`,
		"dir/nope":    `there is no "nope" in "dir"`,
		"/dir":        `there is no "" in the deploy's root`,
		"dir/a.txt/x": `"dir/a.txt" is no directory`,
	} {
		fixture.WantFault(t, fault.Failed, f.chain.Cat(t.Context(), d, io.Discard, path), want, "path-not-in-deploy")
	}
}

// An annotated tag of anything but a commit is refused, and the message says what to push.
func TestWhatIsNoCommitIsRefused(t *testing.T) {
	f := newSetup(t)
	commit := f.repo.commit("one", files{"a.txt": regular("one\n")})
	f.repo.Git("tag", "-a", "-m", "live", "live", commit.String()+"^{tree}")
	job := f.job(f.repo.OID("rev-parse", "live"))
	job.Ref = "refs/tags/live"
	if err := job.Peel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, err := f.do(job)
	fixture.WantFault(t, fault.Refused, err, "is no commit", "an annotated tag of a commit")
	if strings.Contains(err.Error(), "object not found") {
		t.Errorf("error is %v", err)
	}
}

// TestPeel: an annotated tag is for the record, and the commit that it names for everything else.
func TestPeel(t *testing.T) {
	f := newSetup(t)
	commit := f.repo.commit("one", files{"a.txt": regular("one\n")})
	f.repo.Git("tag", "-a", "-m", "live", "live", commit.String())
	tag := f.repo.OID("rev-parse", "live")
	branch := f.job(tag)
	if err := branch.Peel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, err := f.do(branch)
	fixture.WantFault(t, fault.Refused, err, "is no commit", "push a commit") // git takes no tag there
	job := f.job(tag)
	job.Ref = "refs/tags/live"
	for range 2 { // a deploy that begins anew peels again
		if err := job.Peel(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d, _, err := f.do(job)
	if err != nil {
		t.Fatal(err)
	}
	want := record.Tag{OID: tag.String()}
	if d.Hash != record.CommitHash(commit) || d.Record.Tag != want {
		t.Errorf("got %s, %+v", d.Hash, d.Record.Tag)
	}
}
