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
	var seen []record.ID
	err = f.chain.Log(t.Context(), 0, func(d *record.Deploy) error {
		seen = append(seen, d.ID)
		return nil
	})
	fixture.WantFault(t, fault.Corrupt, err, "deploy/2/signature", "")
	if len(seen) != 1 || seen[0] != 3 {
		t.Errorf("before the error, Log told of %v, want 3 only", seen)
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
		fixture.WantFault(t, fault.Failed, f.chain.Cat(t.Context(), d, path, io.Discard), want, "path-not-in-deploy")
	}
}

// Of an annotated tag only the commit can be deployed, and the message says how.
func TestWhatIsNoCommitIsRefused(t *testing.T) {
	f := newSetup(t)
	commit := f.repo.commit("one", files{"a.txt": regular("one\n")})
	f.repo.Git("tag", "-a", "-m", "live", "live", commit.String())
	job := f.job(f.repo.OID("rev-parse", "live"))
	job.Ref = "refs/tags/live"
	_, _, err := f.do(job)
	fixture.WantFault(t, fault.Refused, err, "is no commit", "TAG^{commit}:refs/tags/live")
	if strings.Contains(err.Error(), "object not found") {
		t.Errorf("error is %v", err)
	}
}
