package verify_test

import (
	"slices"
	"strings"
	"testing"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/verify"
	"refship/keys"
)

// TestReplacedKey: who only knows a chain's old key follows it to the next one; and a deploy that a thief of the old
// key puts on top afterwards is named.
func TestReplacedKey(t *testing.T) {
	t.Parallel()
	f := newSetup(t, "/refship/config")
	rotating := func(job *deploy.Job) {
		job.Rotation = func() (keys.Signers, error) {
			return keys.Signers{Now: fixture.Signer(1), Next: fixture.Signer(2)}, nil
		}
	}
	at := f.commit("first", files{"a": "1"})
	f.deploy(at)
	for _, text := range []string{"2", "3", "4"} {
		at = f.commit(text, files{"a": text}, at)
		f.deploy(at, rotating)
	}
	v := f.held().verify(t, f.ns)
	if v.Findings != 0 || v.Deploys[verify.Sound] != 4 || v.all[4].Signer != "server" {
		t.Errorf("found %v, %v, deploy 4 is by %q", v.findings(), v.Deploys, v.all[4].Signer)
	}

	// The thief's deploy.
	f.deploy(f.commit("5", files{"a": "5"}, at))
	v = f.held().verify(t, f.ns)
	key := f.chain().DeployKey(5, record.KeySignature)
	if v.Findings != 1 || !slices.ContainsFunc(v.Strays, func(f verify.Finding) bool {
		return f.Key == key && strings.Contains(f.What, "which deploy 2 has replaced by SHA256:")
	}) {
		t.Errorf("found %v, %v", v.findings(), v.Strays)
	}
}
