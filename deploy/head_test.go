package deploy_test

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/record"
)

// head is the id of the chain's head, 0 without one.
func (f *setup) head() record.ID {
	f.Helper()
	d, err := f.chain.Head(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if d == nil {
		return 0
	}
	return d.ID
}

func TestHeadWhileEtcdIsCompacted(t *testing.T) {
	f := newSetup(t)
	f.foreign(1, "")
	f.put(own+"head", "1")
	compacted := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if compacted < 3 { // between the hint and the look at that revision
			compacted++
			resp, err := f.tap.KV.Put(t.Context(), "/elsewhere", "x")
			if err != nil {
				return nil, err
			}
			if _, err := f.client.Compact(context.WithoutCancel(t.Context()), resp.Header.Revision); err != nil {
				return nil, err
			}
		}
		return txn.send()
	})
	if id := f.head(); id != 1 || compacted != 3 {
		t.Errorf("head %d after %d compactions", id, compacted)
	}
}
