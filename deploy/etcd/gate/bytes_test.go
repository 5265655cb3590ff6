package gate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
)

// rawCodec sends bytes as they are.
type rawCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// An etcd of another version, in its own process, is read through a gate just the same. It may read the bytes of a
// request in another way than the gate does, and gives nothing more for that.
func TestOtherEtcd(t *testing.T) {
	fixture.Need(t, "etcd")
	p := fixture.StartProcess(t)
	server := dialUser(t, p, "")
	repo := fixture.NewRepository(t)
	publish(t, server, record.Files, repo, repo.Commit("first", map[string]fixture.File{"a": {Content: "a\n"}}))
	client := through(t, server, ns)
	want, got := read(t, store.Open(server, ns)), read(t, store.Open(client, ns))
	if got != want || !strings.Contains(got, "head 1,") {
		t.Errorf("directly: %s\nthrough the gate: %s", want, got)
	}
	for _, key := range []string{ns + "/refship/a", ns + "/refship/b", "/refship/site/refship/head"} {
		if _, err := server.Put(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	key := []byte(ns + "/refship/a")
	openRange := slices.Concat(protoField(1, key), protoField(2, nil))
	openCompare := slices.Concat(protoField(3, key), protoField(64, nil))
	op := protoField(1, openRange)
	txn := slices.Concat(protoField(1, openCompare), protoField(2, op), protoField(3, op))
	codec := grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2(proto.Name)})
	for name, conn := range map[string]*grpc.ClientConn{
		"directly": server.ActiveConnection(), "gate": client.ActiveConnection(),
	} {
		alone, inTxn := new(pb.RangeResponse), new(pb.TxnResponse)
		err := errors.Join(conn.Invoke(t.Context(), pb.KV_Range_FullMethodName, openRange, alone, codec),
			conn.Invoke(t.Context(), pb.KV_Txn_FullMethodName, txn, inTxn, codec))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n, m := len(alone.Kvs), len(inTxn.Responses[0].GetResponseRange().Kvs)
		t.Logf("%s: %d and %d keys", name, n, m)
		if name == "gate" && (n != 1 || m != 1) {
			t.Errorf("through the gate come %d and %d keys", n, m)
		}
	}
	watched := client.Watch(t.Context(), ns+"/refship/", clientv3.WithPrefix(), clientv3.WithRev(1))
	if seen := <-watched; len(seen.Events) == 0 || seen.Err() != nil {
		t.Errorf("the watch has seen %v, %v", seen, seen.Err())
	}
}
