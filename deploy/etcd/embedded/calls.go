package embedded

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"

	"refship/deploy/etcd"
	"refship/deploy/fault"
)

// calls are the requests of the in-process client. Each ends with its context, or when etcd has failed, whatever it
// waits for: a lock inside etcd, perhaps, of a goroutine that has ended. And a page of the database that turns out to
// be damaged is a failure of etcd there, not the end of the process.
type calls struct {
	failed context.Context // ends when etcd cannot go on
	fail   context.CancelCauseFunc

	mu      sync.Mutex // guards the next two
	closed  bool
	running sync.WaitGroup
}

// begin counts a request, unless close was called.
func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Add(1)
	}
	return !c.closed
}

// close waits for the requests, whose callers may have left them, and lets no more begin.
func (c *calls) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.running.Wait()
}

// errFailed is what a request gets. Its caller may be a user; why it is so is the operator's.
var errFailed = fmt.Errorf("%w: %w", etcd.ErrUnreachable, fault.New(fault.Unavailable,
	"the server's etcd cannot go on, and the server ends", "its log says why; try again when it has been started again"))

// call runs one request.
func call[Q, A any](c *calls, ctx context.Context, request Q, send func(context.Context, Q) (A, error)) (A, error) {
	type answer struct {
		value A
		err   error
	}
	var none A
	if !c.begin() {
		return none, rpctypes.ErrGRPCStopped
	}
	answers := make(chan answer, 1)
	go func() {
		defer c.running.Done()
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if p := recover(); p != nil {
				c.fail(fmt.Errorf("panic: %v", p))
			}
		}()
		value, err := send(ctx, request)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-c.failed.Done():
		return none, errFailed
	}
}

// newClient is v3client.New with calls between it and the server. When etcd fails, so does each keepalive of a lease:
// it would go on trying, or wait for good for an answer, and a session on that lease would seem to be alive.
func newClient(server *etcdserver.EtcdServer, c *calls) *clientv3.Client {
	client := v3client.New(server)
	client.KV = clientv3.NewKVFromKVClient(
		adapter.KvServerToKvClient(calledKV{v3rpc.NewQuotaKVServer(server), c}), client)
	client.Lease = clientv3.NewLeaseFromLeaseClient(
		adapter.LeaseServerToLeaseClient(calledLease{v3rpc.NewQuotaLeaseServer(server), c}), client, time.Second)
	client.Maintenance = clientv3.NewMaintenanceFromMaintenanceClient(
		adapter.MaintenanceServerToMaintenanceClient(
			calledMaintenance{v3rpc.NewMaintenanceServer(server, nil), c}), client)
	context.AfterFunc(c.failed, func() { _ = client.Lease.Close() }) // it gives nothing but nil
	return client
}

type calledKV struct {
	pb.KVServer
	calls *calls
}

func (s calledKV) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return call(s.calls, ctx, r, s.KVServer.Range)
}

func (s calledKV) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	return call(s.calls, ctx, r, s.KVServer.Put)
}

func (s calledKV) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	return call(s.calls, ctx, r, s.KVServer.DeleteRange)
}

func (s calledKV) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	return call(s.calls, ctx, r, s.KVServer.Txn)
}

func (s calledKV) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	return call(s.calls, ctx, r, s.KVServer.Compact)
}

type calledLease struct {
	pb.LeaseServer
	calls *calls
}

func (s calledLease) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return call(s.calls, ctx, r, s.LeaseServer.LeaseGrant)
}

func (s calledLease) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	return call(s.calls, ctx, r, s.LeaseServer.LeaseRevoke)
}

type calledMaintenance struct {
	pb.MaintenanceServer
	calls *calls
}

func (s calledMaintenance) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	return call(s.calls, ctx, r, s.MaintenanceServer.Status)
}
