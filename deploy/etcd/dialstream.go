package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"refship/deploy/fault"
)

const (
	// streamEndpoint is the endpoint of a client whose connection is a stream.
	streamEndpoint = "stream"
	// streamTimeout bounds one request of such a client. A line may be slow: what is dead or overloaded is found out by
	// pings and by the other side.
	streamTimeout = 10 * time.Minute
	// streamSilence is how long the other side may say nothing after a ping. The ping may be queued behind data.
	streamSilence = 20 * time.Second
	// never is a pause that outlives every stream: there is nothing to connect to again.
	never = 1000 * time.Hour
	// NamespaceHeader is the gRPC header in which a gate names the namespace that it is for.
	NamespaceHeader = "refship-namespace"
	// streamWindow and connWindow let 1 MiB and more be under way on a line with a long delay.
	streamWindow = 4 << 20
	connWindow   = 16 << 20
)

// DialStream makes a client whose only connection is a stream to something that speaks etcd's API, such as
// deploy/etcd/gate behind ssh. namespace is the one that a gate is for, "" from another etcd. It waits for one answer
// until ctx ends, or the stream does: a person may have to type a password meanwhile. The stream's Close must make its
// Read and Write return. It is closed with the client, and where DialStream fails. log (may be nil) gets the client's
// own warnings at debug level.
//
// When the stream has ended, each call and watch fails at once with ErrUnreachable. The client connects to nothing
// else. A request may take 10 minutes in all, since the line may be slow.
func DialStream(ctx context.Context, stream io.ReadWriteCloser, log *slog.Logger) (
	client *Client, namespace string, err error,
) {
	s := &streamDialer{conn: NewStreamConn(stream)}
	client, err = clientv3.New(s.config(ctx, log))
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("speak to etcd over a stream: %w", err), s.conn.Close())
	}
	context.AfterFunc(client.Ctx(), func() { _ = s.conn.Close() }) // the client may never have used it
	err = ask(ctx, client)
	if err == nil || isTransient(err) { // what answers is there; requests are sent again by themselves
		return client, s.namespaceOf(), nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	_ = client.Close()
	return nil, "", fmt.Errorf("speak to etcd over a stream: %w", Classify(err))
}

// isStream tells whether a client is one of DialStream.
func isStream(client *Client) bool { return slices.Equal(client.Endpoints(), []string{streamEndpoint}) }

// streamDialer gives gRPC its one connection.
type streamDialer struct {
	conn   *StreamConn
	given  atomic.Bool
	usedUp atomic.Bool // gRPC wants another one

	namespace atomic.Pointer[string] // as the first answer's header names it
}

// namespaceOf is the namespace that the other side has named, "" if it has not.
func (s *streamDialer) namespaceOf() string {
	if name := s.namespace.Load(); name != nil {
		return *name
	}
	return ""
}

func (s *streamDialer) config(ctx context.Context, log *slog.Logger) clientv3.Config {
	again := backoff.Config{BaseDelay: never, Multiplier: 1, MaxDelay: never}
	return clientv3.Config{
		Context:              context.WithoutCancel(ctx),
		Endpoints:            []string{streamEndpoint},
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: streamSilence,
		MaxUnaryRetries:      1, // requests of Bounded are sent again
		Logger:               NewZap(log, func() slog.Level { return slog.LevelDebug }, nil),
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(s.dial),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: never}),
			grpc.WithInitialWindowSize(streamWindow),
			grpc.WithInitialConnWindowSize(connWindow),
			grpc.WithChainUnaryInterceptor(s.unary, failFast),
			grpc.WithChainStreamInterceptor(s.stream),
		},
	}
}

// dial gives the connection once. gRPC asks again when it has ended, or when the other side has said that it will end
// it: calls that are under way may still go on then.
func (s *streamDialer) dial(context.Context, string) (net.Conn, error) {
	if s.given.Swap(true) {
		s.usedUp.Store(true)
		return nil, net.ErrClosed
	}
	return s.conn, nil
}

func (s *streamDialer) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if err := s.end(nil); err != nil {
		return err
	}
	var header metadata.MD
	if s.namespace.Load() == nil {
		opts = append(opts, grpc.Header(&header))
	}
	err := invoke(ctx, method, req, reply, conn, opts...)
	if named := header.Get(NamespaceHeader); len(named) == 1 {
		s.namespace.CompareAndSwap(nil, &named[0])
	}
	if err != nil {
		return s.orEnd(ctx, err)
	}
	return nil
}

func (s *streamDialer) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if err := s.end(nil); err != nil {
		return nil, err
	}
	opened, err := open(ctx, desc, conn, method, append(opts, grpc.WaitForReady(false))...)
	if err != nil {
		return nil, s.orEnd(ctx, err)
	}
	return endingStream{opened, s}, nil
}

type endingStream struct {
	grpc.ClientStream
	dialer *streamDialer
}

// RecvMsg implements grpc.ClientStream.
func (e endingStream) RecvMsg(msg any) error {
	err := e.ClientStream.RecvMsg(msg)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return e.dialer.orEnd(e.Context(), err)
}

// orEnd gives the end of the connection, if a call has failed by it, else the call's own error.
func (s *streamDialer) orEnd(ctx context.Context, err error) error {
	if code := status.Code(err); ctx.Err() != nil || code != codes.Unavailable && code != codes.Canceled {
		return err
	}
	if end := s.end(err); end != nil {
		return end
	}
	return err
}

// end gives the error of calls after the end of the connection, nil while it stands. err is that of a call, or nil.
func (s *streamDialer) end(err error) error {
	why := s.conn.Err()
	switch {
	case why == nil && !s.usedUp.Load():
		return nil
	case why == nil, errors.Is(why, io.EOF), errors.Is(why, io.ErrClosedPipe), errors.Is(why, syscall.EPIPE):
		why = errors.New("the other side has closed the connection")
	case errors.Is(why, net.ErrClosed) && err != nil:
		why = errors.New(message(err)) // gRPC has closed it, and says why
	}
	return endError{&fault.Error{
		What:   ErrUnreachable.Error() + ": " + why.Error(),
		Remedy: "try again over a new connection",
		Cause:  ErrUnreachable,
	}}
}

// endError has a gRPC code that makes etcd's client, and Bounded, give up: it would try again without end.
type endError struct{ error }

// Unwrap gives the error below.
func (e endError) Unwrap() error { return e.error }

// GRPCStatus is how etcd's client sees the error.
func (e endError) GRPCStatus() *status.Status { return status.New(codes.Aborted, e.Error()) }
