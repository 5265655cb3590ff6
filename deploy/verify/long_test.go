package verify_test

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// BenchmarkLongChain verifies chains of 1,000 and of 10,000 signed deploys of next to nothing, with their logs. The
// metric "us/deploy" is the same for both where verify is linear.
//
//	go test -run '^$' -bench LongChain -benchtime 3x ./deploy/verify
func BenchmarkLongChain(b *testing.B) {
	for _, n := range []record.ID{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newSetup(b, namespace)
			f.long(n)
			for b.Loop() {
				v, err := runVerify(b.Context(), store.Open(f.remote, f.ns))
				if err != nil || v.Findings != 0 {
					b.Fatal(v.findings(), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "us/deploy")
		})
	}
}

// long makes a chain of so many deploys of an empty directory.
func (f *setup) long(n record.ID) {
	f.Helper()
	empty := fixture.OID("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
	h := held{f.chain().TreeKey(empty): "", f.chain().Key("head"): n.String()}
	var below record.Ref
	previous := record.Hash("")
	for id := record.ID(1); id <= n; id++ {
		r := &record.Record{
			Format: 1, Namespace: f.ns, Chain: "00112233445566778899aabbccddeeff", ID: id, Kind: record.KindDeploy,
			Hash: record.TreeHash(empty), Tree: empty, Frontend: record.Files, PreviousHash: previous, PreviousRecord: below,
			Undone: []record.Undone{}, Signer: ssh.FingerprintSHA256(f.signer.PublicKey()),
			Time: time.Unix(1_700_000_000, 0).UTC(), TreeSHA256: tree.NewContentHash(tree.FormatSHA1, 0).SHA256(),
		}
		d, err := record.NewDeploy(r, f.signer)
		if err != nil {
			f.Fatal(err)
		}
		previous, below = d.Hash, record.Ref{ID: id, SHA256: record.Sum(d.RecordBytes)}
		h[f.chain().DeployKey(id, record.KeyRecord)] = string(d.RecordBytes)
		h[f.chain().DeployKey(id, record.KeyHash)] = string(d.Hash)
		h[f.chain().DeployKey(id, record.KeySignature)] = string(d.Signature)
	}
	f.relog(h, n)
	var puts []clientv3.Op
	flush := func() {
		if _, err := f.client.Txn(f.Context()).Then(puts...).Commit(); err != nil {
			f.Fatal(err)
		}
		puts = nil
	}
	for key, value := range h {
		if puts = append(puts, clientv3.OpPut(key, value)); len(puts) == 100 {
			flush()
		}
	}
	flush()
}
