package gate

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// What a node may write.
const (
	maxReport = 16 << 10 // bytes
	maxLeases = 16       // that a gate grants
	maxTTL    = 600      // seconds
)

// suffix is what may follow the node's own name, for several that share a key.
var suffix = regexp.MustCompile(`^(\.[A-Za-z0-9_-]{1,63})?$`)

// checkPut refuses to put anything but a node's own report, and the key that says that it lives.
func (s *session) checkPut(q *pb.PutRequest) error {
	if s.node == "" {
		return refuse("it may only be read")
	}
	key := string(q.Key)
	report := s.namespace + "/refship/node/" + s.node
	alive := s.namespace + "/refship/alive/" + s.node
	name, isReport := strings.CutPrefix(key, report)
	if !isReport {
		var isAlive bool
		if name, isAlive = strings.CutPrefix(key, alive); !isAlive {
			return refuse("a node puts nothing but its own report, %s, and %s: it is called as its key is, --name %s, or that "+
				"and .SUFFIX", report, alive, s.node)
		}
	}
	switch {
	case !suffix.MatchString(name):
		return refuse("the key %q is not that of node %s", key, s.node)
	case len(q.Value) > maxReport:
		return refuse("a report has %d bytes at most", maxReport)
	case q.IgnoreLease || q.IgnoreValue || q.PrevKv:
		return refuse("a put has a key, a value and a lease only")
	case isReport == (q.Lease != 0):
		return refuse("%s has no lease, and %s has one", report, alive)
	case q.Lease != 0 && !s.leases.has(q.Lease):
		return refuse("the lease was not granted through this gate")
	}
	return nil
}

// leases are those that a gate has granted.
type leases struct {
	mu      sync.Mutex
	granted map[int64]bool
	asked   int // with those that etcd is asked for
}

func (l *leases) has(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.granted[id]
}

// take counts a lease that is asked for.
func (l *leases) take() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked == maxLeases {
		return refuse("this gate has granted %d leases already", maxLeases)
	}
	l.asked++
	return nil
}

func (l *leases) add(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.granted == nil {
		l.granted = map[int64]bool{}
	}
	l.granted[id] = true
}

// grant grants a lease. Its id is etcd's choice.
func (s *session) grant(ctx context.Context, stream grpc.ServerStream) error {
	request := new(pb.LeaseGrantRequest)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	switch {
	case s.node == "" || hasUnknown(request.ProtoReflect()):
		return refuse("only a node is granted leases")
	case request.ID != 0:
		return refuse("a lease's id is not chosen by the client")
	case request.TTL < 1 || request.TTL > maxTTL:
		return refuse("a lease lives for 1 to %d seconds", maxTTL)
	}
	if err := s.pace.wait(ctx); err != nil {
		return err
	}
	if err := s.leases.take(); err != nil {
		return err
	}
	reply := new(pb.LeaseGrantResponse)
	err := s.conn.Invoke(ctx, pb.Lease_LeaseGrant_FullMethodName, request, reply, s.callOptions(countAnswer)...)
	if err != nil {
		return err
	}
	s.leases.add(reply.ID)
	return stream.SendMsg(reply)
}

// revoke ends a lease of this gate.
func (s *session) revoke(ctx context.Context, stream grpc.ServerStream) error {
	request := new(pb.LeaseRevokeRequest)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	if !s.leases.has(request.ID) || hasUnknown(request.ProtoReflect()) {
		return refuse("the lease was not granted through this gate")
	}
	if err := s.pace.wait(ctx); err != nil {
		return err
	}
	reply := new(pb.LeaseRevokeResponse)
	err := s.conn.Invoke(ctx, pb.Lease_LeaseRevoke_FullMethodName, request, reply, s.callOptions(countAnswer)...)
	if err != nil {
		return err
	}
	return stream.SendMsg(reply)
}

// keepAlive renews leases of this gate.
func (s *session) keepAlive(ctx context.Context, down grpc.ServerStream) error {
	if s.node == "" {
		return refuse("only a node has leases")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	up, err := s.conn.NewStream(ctx, &pb.Lease_ServiceDesc.Streams[0], pb.Lease_LeaseKeepAlive_FullMethodName,
		s.callOptions(countAnswer)...)
	if err != nil {
		return err
	}
	go func() { // it ends when down does, which is when this function returns
		if err := s.renew(ctx, down, up); err != nil {
			cancel(err)
		}
	}()
	return relay(ctx, up, func(response *pb.LeaseKeepAliveResponse) error { return down.SendMsg(response) })
}

// renew forwards what the client asks for.
func (s *session) renew(ctx context.Context, down grpc.ServerStream, up grpc.ClientStream) error {
	for {
		request := new(pb.LeaseKeepAliveRequest)
		if err := down.RecvMsg(request); err != nil {
			if errors.Is(err, io.EOF) {
				return up.CloseSend()
			}
			return err
		}
		if !s.leases.has(request.ID) || hasUnknown(request.ProtoReflect()) {
			return refuse("the lease was not granted through this gate")
		}
		if err := s.pace.wait(ctx); err != nil {
			return err
		}
		if err := up.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // the reader learns why it has ended
			return err
		}
	}
}
