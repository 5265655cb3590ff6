package store_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// A program that only reads a chain links no etcd server, no SSH server, and nothing that receives a push.
func TestReader(t *testing.T) {
	t.Parallel()
	const reader = "./testdata/reader"
	program := filepath.Join(t.TempDir(), "reader")
	if out, err := exec.Command("go", "build", "-o", program, reader).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command("go", "list", "-deps", reader).Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	for _, pkg := range linked {
		for _, heavy := range []string{
			"go.etcd.io/etcd/server", "go.etcd.io/bbolt", "go.etcd.io/raft", "github.com/gliderlabs/ssh",
			"refship/gitserver", "refship/hooks", "refship/deploy/etcd/embedded", "refship/deploy/git",
		} {
			if pkg == heavy || strings.HasPrefix(pkg, heavy+"/") {
				t.Errorf("%s links %s", reader, pkg)
			}
		}
	}
	if !slices.Contains(linked, "refship/deploy/store") {
		t.Errorf("%s links %q", reader, linked)
	}

	// And it reads.
	endpoint := fixture.ServeEtcd(t)
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	hash := record.Hash(strings.Repeat("1", 40))
	d, err := record.NewDeploy(&record.Record{
		Format: record.Format, Namespace: "/refship/config", Chain: "00112233445566778899aabbccddeeff", ID: 1,
		Undone: []record.Undone{}, Kind: record.KindPush, Hash: hash, Tree: hash.OID(),
		TreeSHA256: tree.SHA256{3}, Frontend: record.Files, Time: time.Unix(0, 0).UTC(),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := etcd.NewWriter(t.Context(), client)
	for key, value := range map[string][]byte{"hash": []byte(hash), "record": d.RecordBytes} {
		if err := w.Put("/refship/config/deploy/1/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Barrier(); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(program, endpoint, "/refship/config").CombinedOutput()
	if want := fmt.Sprintln(1, hash); err != nil || string(said) != want {
		t.Errorf("it said %q, %v; want %q", said, err, want)
	}
}
