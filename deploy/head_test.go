package deploy_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fault"
	"refship/deploy/record"
)

func (f *fixture) head() (id record.ID, requests int) {
	f.Helper()
	requests = f.tap.count(func() {
		d, err := f.chain.Head(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		if d != nil {
			id = d.ID
		}
	})
	return id, requests
}

func TestHeadOfEveryLengthWithEveryHint(t *testing.T) {
	f := newFixture(t)
	if id, requests := f.head(); id != 0 || requests != 2 {
		t.Errorf("empty chain: head %d in %d requests", id, requests)
	}
	for length := 1; length <= 70; length++ {
		f.foreign(length, "")
		f.delete(own + "head")
		if id, requests := f.head(); int(id) != length || requests > 12 {
			t.Errorf("%d deploys, no hint: head %d in %d requests", length, id, requests)
		}
		for hint := range length + 3 {
			if length%23 != 0 && hint%9 != 0 && hint < length-2 {
				continue // a sample of the lagging ones
			}
			f.put(own+"head", fmt.Sprint(hint))
			id, requests := f.head()
			if int(id) != length || requests > 12 || hint == length && requests != 2 {
				t.Errorf("%d deploys, hint %d: head %d in %d requests", length, hint, id, requests)
			}
		}
		for _, hint := range []string{"", "garbage", "-1", "1e3", "18446744073709551615", "18446744073709551616", "9223372036854775807", " 1"} {
			f.put(own+"head", hint)
			if id, requests := f.head(); int(id) != length || requests > 12 {
				t.Errorf("%d deploys, hint %q: head %d in %d requests", length, hint, id, requests)
			}
		}
	}
}

func TestHeadOfALongChainCostsTwoRequests(t *testing.T) {
	f := newFixture(t)
	f.mgmts = true // it has foreign deploys, too
	const length = 3000
	for id := 1; id <= length; {
		var ops []clientv3.Op
		for ; id <= length && len(ops) < 100; id++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s/deploy/%d/payload", namespace, id), "p"))
		}
		if _, err := f.tap.KV.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	f.put(own+"head", fmt.Sprint(length))
	if id, requests := f.head(); id != length || requests != 2 {
		t.Errorf("head %d in %d requests", id, requests)
	}
	f.put(own+"head", "1")
	if id, requests := f.head(); id != length || requests > 15 {
		t.Errorf("head %d in %d requests", id, requests)
	}
	// The newest record below many foreign deploys is found in batches.
	r := record.Record{ID: 1, Kind: record.KindPush, Hash: record.Hash(oid160)}
	f.handwritten(r)
	f.delete(namespace + "/deploy/1/payload")
	commit := f.repo.commit("first", files{"a": regular("a")})
	f.put(fmt.Sprintf("%s/deploy/%d/hash", namespace, length), commit.String())
	var d *record.Deploy
	requests := f.tap.count(func() { d = f.deploy(commit) })
	if d.Record.PreviousRecord.ID != 1 || requests > 140 {
		t.Errorf("previous record %+v in %d requests", d.Record.PreviousRecord, requests)
	}
}

func TestHeadWhileEtcdIsCompacted(t *testing.T) {
	f := newFixture(t)
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
	if id, _ := f.head(); id != 1 || compacted != 3 {
		t.Errorf("head %d after %d compactions", id, compacted)
	}
}

func TestLogTellsTheNewestFirst(t *testing.T) {
	f := newFixture(t)
	logged := func(limit int) (ids []int) {
		err := f.chain.Log(t.Context(), limit, func(d *record.Deploy) error {
			ids = append(ids, int(d.ID))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if ids := logged(0); ids != nil {
		t.Errorf("log of nothing: %v", ids)
	}
	var want []int
	for id := 1; id <= 70; id++ {
		f.foreign(id, "")
		want = append([]int{id}, want...)
	}
	for _, limit := range []int{0, 1, 32, 33, 70, 71} {
		all := want
		if limit > 0 {
			all = want[:min(limit, 70)]
		}
		if diff := cmp.Diff(all, logged(limit)); diff != "" {
			t.Errorf("log of %d (-want +got):\n%s", limit, diff)
		}
	}
	f.delete(namespace + "/deploy/20/payload")
	f.put(own+"head", "70")
	err := f.chain.Log(t.Context(), 0, func(*record.Deploy) error { return nil })
	wantFault(t, fault.Corrupt, err, "deploy/20/record: the deploy is missing", "")
}
