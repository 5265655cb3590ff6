package gate

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"refship/deploy/etcd"
	"refship/deploy/fault"
)

// The bounds of one gate. The package's documentation tells what for.
const (
	maxRequest   = 256 << 10 // bytes
	maxAnswer    = 64 << 20  // bytes
	maxAtATime   = 4         // requests
	maxCalls     = 32        // requests that wait among them, and streams of watches
	maxWatches   = 64
	maxHeader    = 16 << 10 // bytes
	firstWords   = 30 * time.Second
	pingPause    = 5 * time.Second // at least, between two pings of the client
	silence      = 30 * time.Second
	pingAnswer   = time.Minute // a ping may be queued behind what a slow line has to carry
	farewellTime = 2 * time.Second
	streamWindow = 1 << 20 // bytes of requests that may be under way
	connWindow   = 4 << 20
)

// Server opens gates to one etcd.
type Server struct {
	client *etcd.Client
	memory *memory
}

// NewServer makes a server of gates. client is the server's own. It must have a connection: of the embedded etcd, the
// Remote.
func NewServer(client *etcd.Client) *Server { return &Server{client: client, memory: newMemory()} }

// Visitor says for whom a gate is.
type Visitor struct {
	Namespace string // what may be read, such as "/refship/config"
	Key       string // the fingerprint of the user's key: what all its gates may hold in memory is bounded
	Node      string // the name of a node that may put its own report; "": nothing is written
}

// Serve answers on a stream until the client closes it, or ctx ends. It closes the stream, whose Close must make its
// Read and Write return. It gives ctx's cause, or nil when the client has gone, in whatever way.
func (g *Server) Serve(ctx context.Context, stream io.ReadWriteCloser, who Visitor) error {
	conn := etcd.NewStreamConn(stream)
	defer conn.Close()
	s := &session{
		ctx: ctx, client: g.client, conn: g.client.ActiveConnection(), rules: newRules(who.Namespace),
		namespace: who.Namespace, node: who.Node, codec: newCodec(), slots: make(chan struct{}, maxAtATime),
	}
	if s.conn == nil {
		return errors.New("open a gate: the etcd client has no connection")
	}
	s.account = g.memory.enter(who.Key)
	defer s.account.end()
	server := grpc.NewServer(s.options()...)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		// GracefulStop, and Stop as well, wait for a client that has not said its first words.
		hard := time.AfterFunc(farewellTime, func() { _ = conn.Close() })
		defer hard.Stop()
		server.GracefulStop()
	})
	_ = server.Serve(conn.Listener()) // until the connection has ended, which it gives as an error of the listener
	isOver := !stop()
	if isOver {
		<-ended
	}
	server.Stop()
	if isOver {
		return context.Cause(ctx)
	}
	return nil
}

// session is one gate.
type session struct {
	ctx    context.Context // of all of it
	client *etcd.Client
	conn   *grpc.ClientConn // the client's
	rules  rules
	codec  codec
	pace   pace
	slots  chan struct{} // has one for each request at a time

	namespace string
	node      string // "": only reads
	account   *account
	leases    leases

	mu      sync.Mutex
	watches int // of all streams, with those that etcd is asked for
}

// options are those of the server. It has no services: all calls come to handle.
func (s *session) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnknownServiceHandler(s.handle),
		grpc.ForceServerCodecV2(s.codec),
		grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxSendMsgSize(maxAnswer),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ConnectionTimeout(firstWords),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingPause}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: silence, Timeout: pingAnswer}),
	}
}

// method answers one call of the client.
type method func(s *session, ctx context.Context, stream grpc.ServerStream) error

// methods are the only ones that are answered.
var methods = map[string]method{
	pb.KV_Range_FullMethodName: func(s *session, ctx context.Context, stream grpc.ServerStream) error {
		return s.forward(ctx, stream, pb.KV_Range_FullMethodName, new(pb.RangeRequest))
	},
	pb.KV_Txn_FullMethodName: func(s *session, ctx context.Context, stream grpc.ServerStream) error {
		return s.forward(ctx, stream, pb.KV_Txn_FullMethodName, new(pb.TxnRequest))
	},
	pb.KV_Put_FullMethodName: func(s *session, ctx context.Context, stream grpc.ServerStream) error {
		return s.forward(ctx, stream, pb.KV_Put_FullMethodName, new(pb.PutRequest))
	},
	pb.Watch_Watch_FullMethodName:          (*session).watch,
	pb.Lease_LeaseGrant_FullMethodName:     (*session).grant,
	pb.Lease_LeaseRevoke_FullMethodName:    (*session).revoke,
	pb.Lease_LeaseKeepAlive_FullMethodName: (*session).keepAlive,
}

// handle answers a call, or refuses it.
func (s *session) handle(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	answer, ok := methods[name]
	if !ok {
		return refuse("%s is not answered", name)
	}
	if err := stream.SetHeader(metadata.Pairs(etcd.NamespaceHeader, s.namespace)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(requireLeader(stream.Context()))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := answer(s, ctx, stream)
	switch {
	case err != nil && s.ctx.Err() != nil:
		return farewell(context.Cause(s.ctx))
	case err != nil:
		return asStatus(err)
	}
	return nil
}

// requireLeader gives the context of a call to etcd, which wants a leader if the client does.
func requireLeader(ctx context.Context) context.Context {
	came, _ := metadata.FromIncomingContext(ctx)
	for _, value := range came.Get(rpctypes.MetadataRequireLeaderKey) {
		if value == rpctypes.MetadataHasLeader {
			return metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, value)
		}
	}
	return ctx
}

// farewell is the error of calls that the end of the gate cuts off.
func farewell(cause error) error {
	code := codes.Unavailable
	if fault.Is(cause, fault.Refused) {
		code = codes.PermissionDenied
	}
	return status.Error(code, "the server's gate is closed: "+cause.Error())
}

// asStatus gives an error of the server's client as etcd would have sent it.
func asStatus(err error) error {
	var named rpctypes.EtcdError
	if errors.As(err, &named) {
		return status.Error(named.Code(), named.Error())
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	return status.FromContextError(err).Err()
}

// callOptions are those of a call to etcd whose answer has at most so many bytes.
func (s *session) callOptions(most int64) []grpc.CallOption {
	return []grpc.CallOption{grpc.ForceCodecV2(s.codec), grpc.MaxCallRecvMsgSize(int(most))}
}

// forward answers a call that has one request and one answer.
func (s *session) forward(ctx context.Context, stream grpc.ServerStream, name string, request proto.Message) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.slots }()
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	if err := s.rules.check(request, s.checkPut); err != nil {
		return err
	}
	if err := s.pace.wait(ctx); err != nil {
		return err
	}
	size := answerSize(request)
	if err := s.account.take(ctx, size); err != nil {
		return err
	}
	reply := new(answer)
	err := etcd.Repeat(ctx, s.client, func(ctx context.Context) error {
		return s.conn.Invoke(ctx, name, request, reply, s.callOptions(size)...)
	})
	if err != nil {
		s.account.give(size)
		return err
	}
	reply.data = s.account.buffers(reply.data, size)
	return stream.SendMsg(reply)
}
