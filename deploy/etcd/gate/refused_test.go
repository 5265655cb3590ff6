package gate_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// call sends one message and takes one, whatever kind of method it is.
func call(t *testing.T, conn *grpc.ClientConn, method string, request, answer proto.Message) error {
	t.Helper()
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err == nil {
		err = stream.SendMsg(request)
	}
	if err != nil && !errors.Is(err, io.EOF) { // then receiving tells why
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	return stream.RecvMsg(answer)
}

// fill gives each field of a message something: keys of the namespace, and the number 1.
func fill(m protoreflect.Message) {
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		var value protoreflect.Value
		switch field.Kind() {
		case protoreflect.BytesKind:
			value = protoreflect.ValueOfBytes([]byte(ns + "/refship/head"))
			if field.Name() == "range_end" {
				value = protoreflect.ValueOfBytes([]byte(ns + "/refship/heae"))
			}
		case protoreflect.StringKind:
			value = protoreflect.ValueOfString("root")
		case protoreflect.Int64Kind:
			value = protoreflect.ValueOfInt64(1)
		case protoreflect.Uint64Kind:
			value = protoreflect.ValueOfUint64(1)
		case protoreflect.BoolKind:
			value = protoreflect.ValueOfBool(true)
		default:
			continue
		}
		if field.IsList() {
			m.Mutable(field).List().Append(value)
			continue
		}
		m.Set(field, value)
	}
}

// Of all methods that etcd has, and of all other services that it may have, only those that read are answered.
func TestMethods(t *testing.T) {
	e := fixture.NewEtcd(t)
	put(t, e, "7", ns+"/refship/head")
	before := fixture.Dump(t, e.Client())
	client := through(t, e.Remote(), ns)
	conn := client.ActiveConnection()

	answered, seen := map[string]bool{
		pb.KV_Range_FullMethodName: true, pb.KV_Txn_FullMethodName: true, pb.Watch_Watch_FullMethodName: true,
		pb.KV_Put_FullMethodName: true, pb.Lease_LeaseGrant_FullMethodName: true,
		pb.Lease_LeaseRevoke_FullMethodName: true, pb.Lease_LeaseKeepAlive_FullMethodName: true,
	}, 0
	services := pb.File_rpc_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			method := methods.Get(j)
			name := "/" + string(services.Get(i).FullName()) + "/" + string(method.Name())
			if answered[name] {
				seen++ // other tests call them
				continue
			}
			request := dynamicpb.NewMessage(method.Input())
			fill(request)
			err := call(t, conn, name, request, dynamicpb.NewMessage(method.Output()))
			if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if seen != len(answered) || services.Len() != 6 {
		t.Errorf("%d of %d were found, in %d services", seen, len(answered), services.Len())
	}
	for _, name := range []string{
		"/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/v3lockpb.Lock/Lock",
		"/v3electionpb.Election/Campaign", "/etcdserverpb.KV/", "/etcdserverpb.KV/Range/", "//etcdserverpb.KV/Range",
	} {
		err := call(t, conn, name, new(emptypb.Empty), new(emptypb.Empty))
		if code := status.Code(err); code != codes.PermissionDenied && code != codes.Unimplemented {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := fixture.Dump(t, e.Client()); !cmp.Equal(before, after) {
		t.Error(cmp.Diff(before, after))
	}
	if leases, err := e.Client().Leases(t.Context()); err != nil || len(leases.Leases) > 0 {
		t.Errorf("leases %v, %v", leases, err)
	}
	if users, err := e.Remote().UserList(t.Context()); err != nil || len(users.Users) > 0 {
		t.Errorf("users %v, %v", users, err)
	}
}

// Another namespace is refused, one beside it with a name that begins alike, too; and a txn that writes.
func TestRefused(t *testing.T) {
	e := fixture.NewEtcd(t)
	put(t, e, "secret", "/refship/config-staging/refship/head", "/refship/config/other", "/refship/confi",
		"/refship/site/deploy/1/hash")
	put(t, e, "7", ns+"/refship/head")
	before := fixture.Dump(t, e.Client())
	client := through(t, e.Remote(), ns)
	kv := etcd.Bounded(client)
	ctx, mine := t.Context(), ns+"/refship/head"
	get := clientv3.OpGet
	txn := func(ops ...clientv3.Op) func() error {
		return func() error { _, err := kv.Txn(ctx).Then(ops...).Commit(); return err }
	}
	for name, try := range map[string]func() error{
		"sibling":         txn(get("/refship/config-staging/refship/head")),
		"beside the four": txn(get("/refship/config/other")),
		"from there on":   txn(get(mine, clientv3.WithFromKey(), clientv3.WithLimit(9))),
		"all":             txn(get("\x00", clientv3.WithFromKey(), clientv3.WithLimit(9))),
		"whole namespace": txn(get(ns+"/", clientv3.WithPrefix(), clientv3.WithLimit(9))),
		"into a sibling":  txn(get(mine, clientv3.WithRange("/refship/config-staging/"), clientv3.WithLimit(9))),
		"one of two":      txn(get(mine), get("/refship/site/deploy/1/hash")),
		"put":             txn(clientv3.OpPut(mine, "8")),
		"delete":          txn(clientv3.OpDelete(mine)),
		"txn in a txn":    txn(clientv3.OpTxn(nil, []clientv3.Op{get(mine)}, nil)),
		"in the else": func() error {
			_, err := kv.Txn(ctx).Then(get(mine)).Else(clientv3.OpPut(mine, "8")).Commit()
			return err
		},
		"compare": func() error {
			_, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.Value("/refship/site/deploy/1/hash"), "=", "secret")).Commit()
			return err
		},
		"compare a range": func() error {
			_, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.Value(mine), "=", "7").WithRange("/refship/site0")).Commit()
			return err
		},
		"range": func() error { _, err := client.Get(ctx, "/refship/site/deploy/1/hash"); return err },
		"watch": func() error {
			seen := <-client.Watch(ctx, "/refship/site/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			return seen.Err()
		},
		"a plain put":       func() error { _, err := kv.Put(ctx, mine, "8"); return err },
		"a lease":           func() error { _, err := etcd.Grant(ctx, client, 60); return err },
		"to revoke a lease": func() error { _, err := client.Revoke(ctx, 7); return err },
		"the status":        func() error { _, err := etcd.ReadSpace(ctx, client); return err },
		"to renew a lease": func() error { // KeepAliveOnce gives EOF if the answer is there before it has asked
			return call(t, client.ActiveConnection(), pb.Lease_LeaseKeepAlive_FullMethodName,
				&pb.LeaseKeepAliveRequest{ID: 7}, new(pb.LeaseKeepAliveResponse))
		},
	} {
		err := etcd.Classify(try())
		fixture.WantError(t, err, etcd.ErrDenied, "refused by the server's gate", "")
		if err != nil && (fault.KindOf(err) != fault.Refused || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := fixture.Dump(t, e.Client()); !cmp.Equal(before, after) {
		t.Error(cmp.Diff(before, after))
	}
	if resp, err := kv.Get(ctx, mine); err != nil || string(resp.Kvs[0].Value) != "7" {
		t.Errorf("%v, %v", resp, err)
	}
}

// What is too large is refused, on both ways, and the gate goes on.
func TestSizes(t *testing.T) {
	e := fixture.NewEtcd(t)
	key := ns + "/storage/{sha256}0"
	put(t, e, strings.Repeat("x", 1<<20), key)
	client := through(t, e.Remote(), ns)
	kv := etcd.Bounded(client)
	for n, ok := range map[int]bool{4: true, 60: true, 70: false} {
		var gets []clientv3.Op
		for range n {
			gets = append(gets, clientv3.OpGet(key))
		}
		resp, err := kv.Txn(t.Context()).Then(gets...).Commit()
		switch {
		case !ok && (err == nil || !strings.Contains(err.Error(), "larger than max")):
			t.Errorf("%d MiB: %v", n, err)
		case ok && err != nil:
			t.Errorf("%d MiB: %v", n, err)
		case ok && len(resp.Responses[n-1].GetResponseRange().Kvs[0].Value) != 1<<20:
			t.Errorf("%d MiB: the last one is cut", n)
		}
	}
	long := key + strings.Repeat("0", 256<<10)
	if _, err := kv.Get(t.Context(), long); err == nil || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("a long key: %v", err)
	}
	if _, err := kv.Get(t.Context(), key); err != nil {
		t.Error(err)
	}
}

// The server's user reads for the client, and what etcd does not let that user read is refused as etcd says it.
func TestUser(t *testing.T) {
	fixture.Need(t, "etcd")
	p := fixture.StartProcess(t, "--bcrypt-cost=4")
	root := dialUser(t, p, "")
	for _, key := range []string{ns + "/refship/head", "/other/config/refship/head"} {
		if _, err := root.Put(t.Context(), key, "7"); err != nil {
			t.Fatal(err)
		}
	}
	fixture.EnableAuth(t, root)
	root = dialUser(t, p, "root")
	_, err := root.RoleGrantPermission(t.Context(), "ship", "/refship/", "/refship0",
		clientv3.PermissionType(clientv3.PermReadWrite))
	if err != nil {
		t.Fatal(err)
	}
	ship := dialUser(t, p, "ship")
	for _, role := range []string{"another", "one more"} {
		mine, other := through(t, ship, ns), through(t, ship, "/other/config")
		resp, err := etcd.Bounded(mine).Get(t.Context(), ns+"/refship/head")
		if err != nil || string(resp.Kvs[0].Value) != "7" {
			t.Errorf("%v, %v", resp, err)
		}
		seen := <-mine.Watch(t.Context(), ns+"/refship/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		if !seen.Created || seen.Err() != nil {
			t.Errorf("watch: %v, %v", seen, seen.Err())
		}
		_, err = etcd.Bounded(other).Get(t.Context(), "/other/config/refship/head")
		fixture.WantError(t, err, etcd.ErrDenied, "etcdserver: permission denied", "grant")
		// All tokens end with the roles' change. The server's client logs in again.
		if _, err := root.RoleAdd(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
}
