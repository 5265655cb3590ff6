package etcd_test

import (
	"context"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

func TestIsEmpty(t *testing.T) {
	client := fixture.NewEtcd(t).Client()
	want := func(want bool) {
		t.Helper()
		if got, err := etcd.IsEmpty(t.Context(), client); got != want || err != nil {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	want(true)
	if _, err := client.Put(t.Context(), "\x00", ""); err != nil {
		t.Fatal(err)
	}
	want(false)
	if _, err := client.Delete(t.Context(), "\x00"); err != nil {
		t.Fatal(err)
	}
	want(true)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if empty, err := etcd.IsEmpty(ended, client); empty || err == nil {
		t.Errorf("unasked, it is empty: %v, %v", empty, err)
	}
}
