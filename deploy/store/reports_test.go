package store_test

import (
	"fmt"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
)

// Of many nodes all are read, from a bundle and from an etcd, and a report that cannot be read is still a node.
func TestReports(t *testing.T) {
	const many = 2500
	b := newBundle()
	client := fixture.NewEtcd(t).Client()
	w := etcd.NewWriter(t.Context(), client)
	put := func(key, value string) {
		b.keys[namespace+"/refship/"+key] = value
		if err := w.Put(namespace+"/refship/"+key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		name := fmt.Sprintf("n%04d", i)
		report := record.NodeReport{Name: "another name", ID: record.ID(i + 1), State: record.NodeRunning}
		encoded, err := report.Encode()
		if err != nil {
			t.Fatal(err)
		}
		put("node/"+name, string(encoded))
		if i%2 == 0 {
			put("alive/"+name, "")
		}
	}
	put("node/broken", "{")
	put("alive/silent", "")
	put("nodes", "no report")
	if err := w.Barrier(); err != nil {
		t.Fatal(err)
	}
	for name, chain := range map[string]*store.Chain{
		"bundle": store.New(b, namespace), "etcd": store.Open(client, namespace),
	} {
		nodes, err := chain.Reports(t.Context())
		if err != nil || len(nodes) != many+2 {
			t.Fatalf("%s: %d nodes, %v", name, len(nodes), err)
		}
		if n := nodes[0]; n.Name != "broken" || n.Alive || n.State != record.NodeFailed || n.Reason == "" {
			t.Errorf("%s: a report that cannot be read: %+v", name, n.NodeReport)
		}
		if n := nodes[many+1]; n.Name != "silent" || !n.Alive || n.Revision != 0 {
			t.Errorf("%s: without a report: %+v", name, n.NodeReport)
		}
		for i, n := range nodes[1 : many+1] {
			if n.Name != fmt.Sprintf("n%04d", i) || n.ID != record.ID(i+1) || n.Alive != (i%2 == 0) {
				t.Fatalf("%s: node %d is %+v, alive %v", name, i, n.NodeReport, n.Alive)
			}
		}
	}
}
