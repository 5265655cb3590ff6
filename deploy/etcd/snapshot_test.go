package etcd_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

// A snapshot has the size that it says before it is read, ends in its own sha256, and can be left half-read.
func TestSnapshot(t *testing.T) {
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{fixture.ServeEtcd(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 5 {
		if _, err := client.Put(t.Context(), fmt.Sprint(i), strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	half, err := etcd.TakeSnapshot(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, half, 1000); err != nil {
		t.Error(err)
	}
	if err := half.Close(); err != nil {
		t.Error(err)
	}
	s, err := etcd.TakeSnapshot(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := io.ReadAll(s)
	if err != nil || int64(len(all)) != s.Size || s.Size < 5<<20 {
		t.Fatalf("%d bytes, and it said %d: %v", len(all), s.Size, err)
	}
	content, sum := all[:len(all)-sha256.Size], all[len(all)-sha256.Size:]
	if want := sha256.Sum256(content); !bytes.Equal(sum, want[:]) {
		t.Errorf("it ends in %x, want %x", sum, want)
	}
}
