package deploy_test

import (
	"errors"
	"testing"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/keys"
)

// TestRotation: a chain announces the next key once, by the old one, and is signed by it from there on, even if
// another key signs in between. What only knows the old key builds on it.
func TestRotation(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	old, next, other := fixture.Signer(1), fixture.Signer(2), fixture.Signer(3)
	f.trusting(allow(old), allow(other))
	now := keys.Signers{Now: old}
	rotating := func(job *deploy.Job) { job.Rotation = func() (keys.Signers, error) { return now, nil } }
	elsewhere := func(job *deploy.Job) { job.Signer = other }
	at := f.one()
	deployed := func(change func(*deploy.Job), signer, announces ssh.Signer) *record.Deploy {
		t.Helper()
		job := f.job(at)
		change(job)
		d, _, err := f.do(job)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if announces != nil {
			want = ssh.FingerprintSHA256(announces.PublicKey())
		}
		if d.Record.Signer != ssh.FingerprintSHA256(signer.PublicKey()) || d.Record.NextSigner != want {
			t.Errorf("deploy %d is signed by %s and announces %q", d.ID, d.Record.Signer, d.Record.NextSigner)
		}
		at = f.repo.commit("next", files{"a": regular(d.ID.String())}, at)
		return d
	}
	deployed(rotating, old, nil)
	now.Next = next
	deployed(rotating, old, next)
	deployed(elsewhere, other, nil)
	deployed(rotating, next, nil)
	deployed(elsewhere, other, nil)
	deployed(rotating, next, nil)
	now = keys.Signers{Now: next}
	deployed(rotating, next, nil)

	// The next rotation, and one whose keys cannot be read.
	now.Next = fixture.Signer(4)
	deployed(rotating, next, fixture.Signer(4))
	deployed(rotating, fixture.Signer(4), nil)
	broken := errors.New("broken")
	job := f.job(at)
	job.Rotation = func() (keys.Signers, error) { return keys.Signers{}, broken }
	if _, _, err := f.do(job); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestRotationOfANewChain: the first deploy announces the next key, so that who knows the old one can follow.
func TestRotationOfANewChain(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	job := f.job(f.one())
	job.Rotation = func() (keys.Signers, error) {
		return keys.Signers{Now: fixture.Signer(1), Next: fixture.Signer(2)}, nil
	}
	d, _, err := f.do(job)
	if err != nil || d.Record.Signer != ssh.FingerprintSHA256(fixture.Signer(1).PublicKey()) ||
		d.Record.NextSigner != ssh.FingerprintSHA256(fixture.Signer(2).PublicKey()) {
		t.Errorf("got %+v, %v", d, err)
	}
}
