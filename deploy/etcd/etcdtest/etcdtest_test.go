package etcdtest_test

import (
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/etcdtest"
)

func Test(t *testing.T) {
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{etcdtest.Serve(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(t.Context(), "key", "value"); err != nil {
		t.Error(err)
	}
	// Each etcd is its own.
	exist, err := etcd.Exist(t.Context(), etcdtest.New(t).Client(), []string{"key"})
	if err != nil || exist[0] {
		t.Errorf("%v, %v", exist, err)
	}
}
