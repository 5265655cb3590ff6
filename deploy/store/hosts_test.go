package store_test

import (
	"fmt"
	"strings"
	"testing"

	"refship/deploy/record"
	"refship/deploy/store"
)

// mgmt's hosts are nodes by what they wrote: the hash of a deploy, of which the newest counts.
func TestHosts(t *testing.T) {
	b := newBundle()
	chain := store.New(b, record.MgmtNamespace)
	hash := func(n int) string { return fmt.Sprintf("%040x", n) }
	const deploys = 1300
	for id := range record.ID(deploys + 1) {
		if id == 0 {
			continue
		}
		b.keys[chain.DeployKey(id, record.KeyHash)] = hash(int(id))
		b.keys[chain.DeployKey(id, record.KeyPayload)] = "x"
	}
	b.keys[chain.DeployKey(1200, record.KeyHash)] = hash(900) // as after a rollback to 900
	delete(b.keys, chain.DeployKey(1100, record.KeyHash))     // as of mgmt deploy --no-git
	host := func(name, value string) { b.keys["/_mgmt/strings/refship/"+name] = value }
	host("h1", hash(1300))
	host("h2", hash(900)+"\n")
	host("h3", hash(300)) // within the last 1,024
	host("h4", hash(200)) // below them
	host("h5", "\x1b[31mversion 7")
	host("x/h6", hash(1300))
	b.keys["/_mgmt/strings/other/h7"] = hash(1300)
	nodes, err := chain.Reports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range nodes {
		if !n.Host || !n.Alive || n.State != record.NodeRunning {
			t.Errorf("%+v", n)
		}
		got = append(got, fmt.Sprintf("%s %d %t", n.Name, n.ID, n.Reason != ""))
	}
	if want := "h1 1300 false, h2 1200 false, h3 300 false, h4 0 true, h5 0 true"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
	if reason := nodes[4].Reason; strings.Contains(reason, "\x1b") || !strings.Contains(reason, "no deploy hash") {
		t.Errorf("reason %q", reason)
	}
	other := store.New(b, namespace)
	b.keys[namespace+"/strings/refship/h8"] = hash(1)
	if nodes, err := other.Reports(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("of a chain that mgmt does not read: %v, %v", nodes, err)
	}
}
