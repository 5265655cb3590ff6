package deploy_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/keys"
)

// trusting makes the chain one of a process that knows whose signatures count.
func (f *setup) trusting(signers ...*keys.Signer) {
	f.Helper()
	allowed := new(keys.AllowedSigners)
	for i, s := range signers {
		allowed.Merge(keys.NewAllowedSigners(fmt.Sprint("signer ", i), s))
	}
	f.store = deploy.NewStore(f.client, deploy.Config{
		LeaseTTL: time.Minute, Log: discard(),
		Signers: func() (*keys.AllowedSigners, error) { return allowed, nil },
	})
	f.chain = f.store.Chain(namespace)
}

func allow(signer ssh.Signer) *keys.Signer {
	return &keys.Signer{Principals: "server", Namespaces: "refship", PublicKey: signer.PublicKey()}
}

// A head that nobody whom the server trusts has signed is not built upon, and not even taken for deployed already.
func TestUntrustedHead(t *testing.T) {
	for name, signer := range map[string]ssh.Signer{"unsigned": nil, "a stranger's": fixture.Signer(2)} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			own := f.signer
			f.signer = signer
			head := f.deploy(f.one())
			f.signer = own
			f.trusting(allow(own))
			want := "its record is not signed"
			if signer != nil {
				want = ssh.FingerprintSHA256(signer.PublicKey()) + " is not an allowed signer"
			}
			commit := head.Hash.OID()
			next := f.repo.commit("next", files{"a": regular("next")}, commit)
			for _, job := range []*deploy.Job{f.job(commit), f.job(next)} {
				_, _, err := f.do(job)
				fixture.WantFault(t, fault.Corrupt, err, want, "head-untrusted push 1")
			}
			d := f.force("mine")
			if d.ID != 2 || !d.Record.Forced || d.Record.Chain != head.Record.Chain || d.Record.PreviousRecord.ID != 1 {
				t.Errorf("record %s", d.RecordBytes)
			}
			f.sameAsGit(d)
			f.deploy(f.repo.commit("on", files{"a": regular("on")}, d.Hash.OID()))
		})
	}
}

// A signature is judged at its record's time, and a publisher's own now, too.
func TestSignersOfAnotherTime(t *testing.T) {
	f := newSetup(t)
	head := f.deploy(f.one())
	next := f.repo.commit("next", files{"a": regular("next")}, head.Hash.OID())
	until, from := allow(f.signer), allow(f.signer)
	until.Before, from.After = head.Record.Time.Add(time.Second), head.Record.Time.Add(2*time.Second)

	other, own := fixture.Signer(2), f.signer
	f.trusting(from, allow(other))
	f.signer = other
	_, _, err := f.do(f.job(next))
	fixture.WantFault(t, fault.Corrupt, err, "is allowed only from", "head-untrusted push 1")
	f.signer = own

	// The signing key has expired: what it signed stays good, and it signs no more.
	expired := allow(f.signer)
	expired.Before = time.Now().Add(-time.Hour)
	f.trusting(expired)
	_, _, err = f.do(f.job(next))
	fixture.WantFault(t, fault.Refused, err, "the deploy would not count: its signer ", "signer-not-allowed push SHA256:")
	f.trusting(until, allow(other))
	f.signer = other
	f.deploy(next)

	job := f.job(next)
	job.Signer = nil
	_, _, err = f.do(job)
	fixture.WantFault(t, fault.Refused, err, "would not be signed", "signer-not-allowed push ")
}

// Any writer of etcd may deploy in mgmt's namespaces: its deploys have no record.
func TestForeignHeadsAreNotJudged(t *testing.T) {
	f := newSetup(t)
	f.mgmts = true
	f.trusting(allow(f.signer))
	commit := f.one()
	f.foreign(1, commit.String())
	if d := f.deploy(f.repo.commit("next", files{"a": regular("next")}, commit)); d.ID != 2 ||
		d.Record.PreviousRecord != (record.Ref{}) {
		t.Errorf("record %s", d.RecordBytes)
	}
}
