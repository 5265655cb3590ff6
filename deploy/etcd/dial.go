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
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"refship/deploy/text"
)

// How fast a dialled client notices that etcd is gone. It sends a ping when a call finds the connection idle, and every
// 10 s while calls are under way: gRPC allows no less, and etcd would end a connection that pings more often than every
// 5 s. Without an answer the connection counts as dead 3 s later.
const (
	defaultDialTimeout = 5 * time.Second
	// lastDialTime is for once more when time is up: a machine that stood still itself finds so before etcd could answer.
	lastDialTime      = 2 * time.Second
	keepAliveTime     = 10 * time.Second
	keepAliveTimeout  = 3 * time.Second
	maxReconnectPause = time.Second // gRPC's default is two minutes; downTime, which waits for a restart, is longer
	clientTries       = 3           // of etcd's client itself: enough to log in again after a token has expired
	clientPause       = 100 * time.Millisecond
)

// Client is etcd's own client.
type Client = clientv3.Client

// Config says how to reach an etcd. The fields are named as etcdctl's flags.
type Config struct {
	// Endpoints are HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///ABSOLUTE/PATH. Bytes that a URL cannot
	// hold are percent-encoded.
	Endpoints         []string
	CACert, Cert, Key string        // files, read for each connection; with any of them TLS is used
	User, Password    string        // User is NAME:PASSWORD if Password is empty
	DialTimeout       time.Duration // 0: 5 s
	Log               *slog.Logger  // gets the client's own warnings at debug level
}

// Dial connects and waits for one answer, for DialTimeout and little more. ctx bounds the dialling only. Errors name
// the endpoints and are classified. A user without any permission can dial.
//
// Calls of the client fail at once if no endpoint can be reached; those of Bounded are tried again. Watches and lease
// keepalives wait and connect again. A token that has expired is renewed.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	conf, err := clientConfig(cfg)
	if err != nil {
		return nil, err
	}
	client, err := dialWithin(ctx, conf, cfg.Log, conf.DialTimeout)
	if errors.Is(err, errNoAnswer) {
		client, err = dialWithin(ctx, conf, cfg.Log, min(conf.DialTimeout, lastDialTime))
	}
	switch {
	case err == nil:
		return client, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, errNoAnswer):
		err = fmt.Errorf("no answer within %s: %w", conf.DialTimeout, context.DeadlineExceeded)
	}
	return nil, fmt.Errorf("dial %s: %w", text.Endpoints(conf.Endpoints...), Classify(err))
}

// errNoAnswer is for an etcd that did not answer in time.
var errNoAnswer = errors.New("no answer in time")

// dialWithin dials once.
func dialWithin(
	ctx context.Context, conf clientv3.Config, log *slog.Logger, limit time.Duration,
) (*Client, error) {
	dialCtx, done := context.WithTimeout(ctx, limit)
	defer done()
	// The client lives as long as the context it is made with. It gets a context of its own, which dialCtx ends only
	// until Dial returns.
	var cancel context.CancelFunc
	conf.Context, cancel = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(dialCtx, cancel)

	client, err := connect(conf, log)
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
	if dialCtx.Err() != nil {
		return nil, errNoAnswer
	}
	if errors.Is(Classify(err), ErrUnreachable) {
		if refusal := tlsRefusal(dialCtx, conf); refusal != nil {
			err = refusal
		}
	}
	return nil, err
}

// connect makes the client. A user logs in over a connection of its own: every call of the client carries the token,
// and etcd 3.4 refuses even a login that carries an expired one (https://github.com/etcd-io/etcd/pull/12165). The
// client would then log in again without end.
func connect(conf clientv3.Config, log *slog.Logger) (*Client, error) {
	members := newMembers(conf, log)
	conf.DialOptions = append(slices.Clone(conf.DialOptions), members.options()...)
	anonymous := conf
	anonymous.Username, anonymous.Password = "", ""
	door, err := clientv3.New(anonymous)
	if err != nil {
		return nil, err
	}
	members.add(door)
	if conf.Username == "" {
		return door, nil
	}
	conf.DialOptions = append(slices.Clone(conf.DialOptions), grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
			invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
		) error {
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
	members.add(client)
	context.AfterFunc(client.Ctx(), func() { _ = door.Close() })
	return client, nil
}

// probe waits for an answer, and for the end of an election. It stops shortly before ctx ends, to tell that there is no
// leader, and not only that time is up.
func probe(ctx context.Context, client *Client) error {
	end, _ := ctx.Deadline()
	for {
		err := ask(ctx, client)
		if err == nil || isDown(err) || !isTransient(err) || time.Until(end) < 2*firstPause || !sleep(ctx, firstPause) {
			return err
		}
	}
}

// Ping asks once for an answer that only an etcd with a leader gives, and waits for it until ctx ends. The user need
// not be allowed to read anything. Errors are classified.
func Ping(ctx context.Context, client *Client) error {
	start := time.Now()
	err := ask(ctx, client)
	if errors.Is(err, context.DeadlineExceeded) {
		return noAnswer(time.Since(start), false)
	}
	return Classify(err)
}

// ask reads a key that need not exist. It is a txn, which the client does not repeat by itself.
func ask(ctx context.Context, client *Client) error {
	get := clientv3.OpGet("refship", clientv3.WithCountOnly())
	_, err := client.Txn(clientv3.WithRequireLeader(ctx)).Then(get).Commit()
	if codeOf(asEtcd(err)) == codes.PermissionDenied {
		return nil // etcd has answered: it reads first, and then looks at the user's permissions; or a gate has
	}
	return err
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
	options := []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: timeout}),
		grpc.WithChainUnaryInterceptor(failFast),
	}
	if tlsConfig != nil {
		options = append(options, grpc.WithTransportCredentials(renewedTLS{credentials.NewTLS(tlsConfig), cfg}))
	}
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
		DialOptions:          options,
	}, nil
}

// failFast makes calls fail if there is no connection. etcd's client lets them wait until their context ends, and
// then says nothing about the reason.
func failFast(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return invoke(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
}

// Socket is the endpoint of the etcd that a process runs inside, with its files in dir: "unix:///…", percent-encoded,
// and commas, too, since they separate endpoints where several are written down.
func Socket(dir string) string {
	socket := (&url.URL{Scheme: "unix", Path: SocketPath(dir)}).String()
	return strings.ReplaceAll(socket, ",", "%2C")
}

// SocketDir is the dir that an endpoint is the Socket of, "" for other endpoints.
func SocketDir(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "unix" || u.Path != SocketPath(filepath.Dir(u.Path)) {
		return ""
	}
	return filepath.Dir(u.Path)
}

// SocketPath is the path of that socket.
func SocketPath(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Join(dir, "etcd.sock")
}
