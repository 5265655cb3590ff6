package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// How fast a dialled client notices that etcd is gone. A ping goes out when a
// call finds the connection idle, and every 10 s while calls are under way (the
// least that gRPC allows; etcd would end a connection that pings more often
// than every 5 s); without an answer the connection counts as dead 3 s later.
const (
	defaultDialTimeout = 5 * time.Second
	keepAliveTime      = 10 * time.Second
	keepAliveTimeout   = 3 * time.Second
	maxReconnectPause  = time.Second // gRPC's default is two minutes; well below downTime, which waits for a restart
	clientTries        = 3           // of etcd's client itself: enough to log in again where a token has expired
	clientPause        = 100 * time.Millisecond
)

// probeKey is what Dial asks for. It need not exist, nor be permitted.
const probeKey = "refship"

// Config says how to reach an etcd; the fields are named as etcdctl's flags.
type Config struct {
	// Endpoints are HOST:PORT, http://HOST:PORT, https://HOST:PORT or
	// unix:///ABSOLUTE/PATH, percent-encoded where a URL needs it.
	Endpoints         []string
	CACert, Cert, Key string        // files; with any of them TLS is used
	User, Password    string        // User is NAME:PASSWORD if Password is empty
	DialTimeout       time.Duration // 0: 5 s
	Log               *slog.Logger  // gets the client's own warnings at debug level
}

// Dial connects and asks once for an answer, within DialTimeout; ctx bounds the
// dialling only. Errors wrap ErrUnreachable or ErrDenied where they are one, name
// the endpoints and mostly have a method Hint. A user who may not read anything
// can dial.
//
// Calls of the client do not wait for a connection where no endpoint can be
// reached; those of Bounded are tried again. Watches and lease keepalives wait
// and connect again. A token that has expired is renewed.
func Dial(ctx context.Context, cfg Config) (*clientv3.Client, error) {
	conf, err := clientConfig(cfg)
	if err != nil {
		return nil, err
	}
	dialCtx, done := context.WithTimeout(ctx, conf.DialTimeout)
	defer done()
	// The client lives as long as the context it is made with: it gets its own,
	// which dialCtx ends only until we return.
	var cancel context.CancelFunc
	conf.Context, cancel = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(dialCtx, cancel)

	client, err := connect(conf)
	if err == nil {
		err = probe(dialCtx, client)
		if !stop() && err == nil {
			err = dialCtx.Err()
		}
		if err == nil {
			return client, nil
		}
		_ = client.Close()
	}
	stop()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case dialCtx.Err() != nil:
		err = fmt.Errorf("no answer within %s: %w", conf.DialTimeout, dialCtx.Err())
	case errors.Is(Classify(err), ErrUnreachable):
		if refusal := tlsRefusal(dialCtx, conf); refusal != nil {
			err = refusal
		}
	}
	return nil, fmt.Errorf("dial %s: %w", strings.Join(conf.Endpoints, ","), Classify(err))
}

// connect makes the client. A user logs in over a connection of its own: a token that has expired goes with every call of
// the client, and etcd 3.4 (https://github.com/etcd-io/etcd/pull/12165) refuses even a login that comes with one, on
// which the client would log in, and again, without end.
func connect(conf clientv3.Config) (*clientv3.Client, error) {
	if conf.Username == "" {
		return clientv3.New(conf)
	}
	anonymous := conf
	anonymous.Username, anonymous.Password = "", ""
	door, err := clientv3.New(anonymous)
	if err != nil {
		return nil, err
	}
	conf.DialOptions = append(slices.Clone(conf.DialOptions), grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if method == pb.Auth_Authenticate_FullMethodName {
				conn = door.ActiveConnection()
			}
			return invoke(ctx, method, req, reply, conn, opts...)
		}))
	client, err := clientv3.New(conf)
	if err != nil {
		_ = door.Close()
		return nil, err
	}
	context.AfterFunc(client.Ctx(), func() { _ = door.Close() })
	return client, nil
}

// probe asks for a key in a way that the client does not repeat by itself, and
// that only a member with a leader answers. An election is waited for, as long
// as the rest of the time is enough to say that there was none.
func probe(ctx context.Context, client *clientv3.Client) error {
	kv := pb.NewKVClient(client.ActiveConnection())
	end, _ := ctx.Deadline()
	for {
		_, err := kv.Range(clientv3.WithRequireLeader(ctx), &pb.RangeRequest{Key: []byte(probeKey), CountOnly: true})
		switch {
		case errors.Is(asEtcd(err), rpctypes.ErrPermissionDenied):
			return nil // authenticated, which is all that is asked here
		case err == nil || isDown(err) || !isTransient(err):
			return err
		case time.Until(end) < askTimeout || !sleep(ctx, firstPause):
			return err
		}
	}
}

func clientConfig(cfg Config) (clientv3.Config, error) {
	if err := cfg.Check(); err != nil {
		return clientv3.Config{}, fmt.Errorf("dial etcd: %w", err)
	}
	user, password := cfg.login()
	tlsConfig, err := clientTLS(cfg)
	if err != nil {
		return clientv3.Config{}, err
	}
	timeout := cfg.DialTimeout
	if timeout == 0 {
		timeout = defaultDialTimeout
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = firstPause, maxReconnectPause
	return clientv3.Config{
		Endpoints:            cfg.Endpoints,
		DialTimeout:          timeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		TLS:                  tlsConfig,
		Username:             user,
		Password:             password,
		MaxUnaryRetries:      clientTries,
		BackoffWaitBetween:   clientPause,
		Logger:               NewZap(cfg.Log, func() slog.Level { return slog.LevelDebug }, nil),
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: timeout}),
			grpc.WithChainUnaryInterceptor(failFast),
		},
	}, nil
}

// failFast makes calls fail when there is no connection. etcd's client lets them
// wait until their context ends, and then says nothing about the reason.
func failFast(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return invoke(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
}

// Socket is the endpoint of an embedded etcd with this Dir: "unix:///…", where
// bytes that a URL cannot hold are percent-encoded, as etcd's client wants it.
func Socket(dir string) string {
	return (&url.URL{Scheme: "unix", Path: SocketPath(dir)}).String()
}

func SocketPath(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Join(dir, "etcd.sock")
}
