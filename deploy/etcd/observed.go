package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

// Request is one request of an observed KV or Lease that has ended.
type Request struct {
	Op   string // one of RequestOps
	Took time.Duration
	Code codes.Code // codes.OK, or the code of its error
}

// RequestOps are all values of Request.Op.
func RequestOps() []string {
	return []string{"get", "put", "delete", "txn", "compact", "lease_grant", "lease_revoke", "lease_keepalive"}
}

// Observed wraps kv. It calls done at the end of each Get, Put, Delete, Compact, Do and Txn, in the same goroutine.
func Observed(kv clientv3.KV, done func(Request)) clientv3.KV {
	o := &observedKV{done: done}
	o.doKV = doKV{kv, o.do}
	return o
}

type observedKV struct {
	doKV
	done func(Request)
}

func (o *observedKV) observe(op string, began time.Time, err error) {
	o.done(Request{Op: op, Took: time.Since(began), Code: requestCode(err)})
}

func (o *observedKV) do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	name := "txn"
	switch {
	case op.IsGet():
		name = "get"
	case op.IsPut():
		name = "put"
	case op.IsDelete():
		name = "delete"
	}
	began := time.Now()
	resp, err := o.send(ctx, op)
	o.observe(name, began, err)
	return resp, err
}

func (o *observedKV) Compact(
	ctx context.Context, rev int64, opts ...clientv3.CompactOption,
) (*clientv3.CompactResponse, error) {
	began := time.Now()
	resp, err := o.KV.Compact(ctx, rev, opts...)
	o.observe("compact", began, err)
	return resp, err
}

// ObservedLease wraps lease. It calls done at the end of each Grant and Revoke, in the same goroutine. It also calls
// done, in another goroutine, when a lease is lost that KeepAlive was to keep: Op is "lease_keepalive", Took is the
// time since its last renewal, and Code is NotFound if etcd says that it is gone, DeadlineExceeded if etcd said
// nothing for longer than the lease lives. Renewals share a stream, on which none can be timed, so it does not tell
// those that succeed.
func ObservedLease(lease clientv3.Lease, done func(Request)) clientv3.Lease {
	return observedLease{lease, done}
}

type observedLease struct {
	clientv3.Lease
	done func(Request)
}

func (o observedLease) Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	began := time.Now()
	resp, err := o.Lease.Grant(ctx, ttl)
	o.done(Request{Op: "lease_grant", Took: time.Since(began), Code: requestCode(err)})
	return resp, err
}

func (o observedLease) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	began := time.Now()
	resp, err := o.Lease.Revoke(ctx, id)
	o.done(Request{Op: "lease_revoke", Took: time.Since(began), Code: requestCode(err)})
	return resp, err
}

func (o observedLease) KeepAlive(
	ctx context.Context, id clientv3.LeaseID,
) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	began := time.Now()
	renewals, err := o.Lease.KeepAlive(ctx, id)
	if err != nil {
		o.done(Request{Op: "lease_keepalive", Took: time.Since(began), Code: requestCode(err)})
		return renewals, err
	}
	passed := make(chan *clientv3.LeaseKeepAliveResponse, 1)
	go func() {
		defer close(passed)
		renewed, lives := began, time.Duration(0)
		for resp := range renewals {
			renewed, lives = time.Now(), time.Duration(resp.TTL)*time.Second
			select {
			case passed <- resp:
			default: // the caller need not read them: etcd's client drops them, too
			}
		}
		if ctx.Err() != nil {
			return // the caller has given it up
		}
		r := Request{Op: "lease_keepalive", Took: time.Since(renewed), Code: codes.NotFound}
		if r.Took >= lives {
			r.Code = codes.DeadlineExceeded
		}
		o.done(r)
	}()
	return passed, nil
}

// requestCode is the gRPC code of an error of the client. The client gives the context's errors as they are.
func requestCode(err error) codes.Code {
	switch {
	case err == nil:
		return codes.OK
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return codeOf(asEtcd(err))
}
