package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"refship/deploy/etcd"
	"refship/deploy/fault"
)

const (
	defaultQuota = 8 << 30 // etcd's recommended maximum
	maxSocket    = 107     // bytes of a unix socket's path: sun_path without its NUL
	closeTimeout = 15 * time.Second
)

// Reasons of errors whose remedy is a setting of the program that starts etcd.
const (
	ReasonListenPlain fault.Reason = "etcd-listen-plain" // Config.Listen needs TLS
	ReasonListenTaken fault.Reason = "etcd-listen-taken" // another program listens on Config.Listen
	ReasonPathLong    fault.Reason = "etcd-path-long"    // Config.Dir is too long for a socket; About: by how many bytes
)

// Config says how to run etcd inside this process.
type Config struct {
	Dir                              string       // holds the member's data, the socket and the lock; made 0700
	Listen                           string       // HOST:PORT beside the socket; "": the socket only
	CertFile, KeyFile, TrustedCAFile string       // required unless Listen is a loopback address
	Quota                            int64        // bytes that the database may hold; 0: 8 GiB
	Log                              *slog.Logger // nil: none
}

// Etcd is an etcd of one member that runs in this process.
type Etcd struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	remote *clientv3.Client // carries the client's watches
	unlock func()           // of the directory
	addr   string

	closing context.Context // ends when Close begins, and ends the streams of remote clients
	stop    context.CancelFunc
	fatal   fatalHook // gets the error if etcd cannot go on
	done    chan error

	closeOnce sync.Once
	closeErr  error
}

// Start runs etcd in cfg.Dir and returns when it has elected itself and answers. ctx bounds the start only. A Dir in
// use is a conflict.
func Start(ctx context.Context, cfg Config) (*Etcd, error) {
	dir, err := prepareDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	var listen listener
	if cfg.Listen != "" {
		if listen, err = cfg.parseListen(ctx); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, err)
		}
	}
	// Before etcd binds its socket, it removes what is there, even a socket that another process listens on. So the
	// lock comes first.
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	e := &Etcd{unlock: unlock, fatal: make(fatalHook, 1), done: make(chan error, 1)}
	e.closing, e.stop = context.WithCancel(context.Background())
	if err := e.run(ctx, e.config(cfg, listen)); err != nil {
		err = fmt.Errorf("start etcd in %s: %w", dir, err)
		if errors.Is(err, unix.EADDRINUSE) {
			err = &fault.Error{
				Remedy: "another program listens there: listen on another address",
				Reason: ReasonListenTaken,
				Cause:  err,
			}
		}
		return nil, errors.Join(err, e.Close())
	}
	e.client = v3client.New(e.etcd.Server)
	if err := e.watchOverSocket(ctx, cfg); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	for _, l := range e.etcd.Clients {
		if l.Addr().Network() == "tcp" {
			e.addr = l.Addr().String()
		}
	}
	go e.watch()
	return e, nil
}

// watchOverSocket gives the in-process client a connection for its watches. Without one, client and server wait for
// each other for good once a few dozen watches end at the same moment (issues 18879 and 20716 of etcd-io/etcd).
func (e *Etcd) watchOverSocket(ctx context.Context, cfg Config) error {
	var err error
	if e.remote, err = etcd.Dial(ctx, etcd.Config{Endpoints: []string{etcd.Socket(cfg.Dir)}, Log: cfg.Log}); err != nil {
		return fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	e.client.Watcher = clientv3.NewWatcher(e.remote)
	return nil
}

func prepareDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("start etcd: no directory given")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("start etcd: %w", err)
	}
	if socket := etcd.SocketPath(dir); len(socket) > maxSocket {
		return "", &fault.Error{
			What:   fmt.Sprintf("start etcd: socket path %s is %d bytes (limit %d)", socket, len(socket), maxSocket),
			Remedy: "use a directory with a shorter path",
			Reason: ReasonPathLong,
			About:  []string{strconv.Itoa(len(socket) - maxSocket)},
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make etcd directory: %w", err)
	}
	// One that exists may be open to others, and the socket asks for no password.
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fmt.Errorf("close etcd directory to others: %w", err)
	}
	return dir, nil
}

// config has the settings of etcd. doc.go says why each is there.
func (e *Etcd) config(cfg Config, listen listener) *embed.Config {
	c := embed.NewConfig()
	c.Name = "refship"
	c.Dir = cfg.Dir
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcd.NewZap(cfg.Log, e.logLevel, e.fatal))

	// A member must advertise a peer URL. There is no listener, and port 0 cannot be connected to.
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: etcd.SocketPath(cfg.Dir)}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	if cfg.Listen != "" {
		c.ListenClientUrls = append(c.ListenClientUrls, listen.url)
		c.ClientTLSInfo = listen.tls
	}
	c.ListenMetricsUrls = nil
	c.EnableGRPCGateway = false

	c.QuotaBackendBytes = defaultQuota
	if cfg.Quota > 0 {
		c.QuotaBackendBytes = cfg.Quota
	}
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = "1h"
	c.SnapshotCount = 100
	c.SnapshotCatchUpEntries = 20

	c.TickMs = 20
	c.ElectionMs = 100
	c.InitialElectionTickAdvance = true

	// On a slow disk, a batch of 1 MiB with its fsync takes longer than etcd's 100 ms.
	c.WarningApplyDuration = time.Second
	c.WarningUnaryRequestDuration = 3 * time.Second

	// Watches of remote clients do not end by themselves, and etcd's shutdown waits for each of them until its timeout.
	c.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(e.endStream)}
	return c
}

// run starts etcd and waits until it answers.
func (e *Etcd) run(ctx context.Context, cfg *embed.Config) error {
	started := make(chan error, 1)
	go func() {
		err := errors.New("etcd gave up") // stays if fatalHook ends this goroutine
		defer func() { started <- err }()
		e.etcd, err = embed.StartEtcd(cfg)
	}()
	if err := <-started; err != nil {
		select {
		case fatal := <-e.fatal:
			return fatal
		default:
			return err
		}
	}
	select {
	case <-e.etcd.Server.ReadyNotify():
		return nil
	case err := <-e.fatal:
		return err
	case err := <-e.etcd.Err():
		return listenerError(err)
	case <-e.etcd.Server.StopNotify():
		return errors.New("etcd stopped")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// logLevel is the highest level of etcd's log records. While it is being closed, etcd logs an error for each listener
// and server.
func (e *Etcd) logLevel() slog.Level {
	if e.closing.Err() != nil {
		return slog.LevelDebug
	}
	return slog.LevelError
}

func (e *Etcd) endStream(
	srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(e.closing, cancel)()
	return handler(srv, boundStream{stream, ctx})
}

type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s boundStream) Context() context.Context { return s.ctx }

func (e *Etcd) watch() {
	defer close(e.done)
	var err error
	select {
	case <-e.closing.Done():
		return
	case err = <-e.fatal:
	case err = <-e.etcd.Err():
		err = listenerError(err)
	case <-e.etcd.Server.StopNotify():
		err = errors.New("etcd stopped")
	}
	if e.closing.Err() == nil {
		e.done <- fmt.Errorf("run etcd: %w", err)
	}
}

// listenerError is the error of a listener that has ended; etcd may report nil.
func listenerError(err error) error {
	if err == nil {
		return errors.New("a listener ended")
	}
	return err
}

// Client is a client inside this process, without a connection except for watches. It belongs to the Etcd and is closed
// with it.
func (e *Etcd) Client() *clientv3.Client { return e.client }

// Addr is HOST:PORT of Listen with the real port, "" without Listen.
func (e *Etcd) Addr() string { return e.addr }

// Done delivers one error if etcd fails while it runs. It is closed after that, and by Close.
func (e *Etcd) Done() <-chan error { return e.done }

// Close stops etcd and unlocks Dir. Calls under way and watches end with an error. If etcd does not end in time, Dir
// stays locked until the process ends.
func (e *Etcd) Close() error {
	e.closeOnce.Do(func() { e.closeErr = e.close() })
	return e.closeErr
}

func (e *Etcd) close() error {
	e.stop()
	if e.client != nil {
		_ = e.client.Close() // gives its cancelled context's error, always
	}
	if e.remote != nil {
		_ = e.remote.Close() // as above
	}
	if e.etcd != nil {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			e.etcd.Close()
		}()
		select {
		case <-ended:
		case <-time.After(closeTimeout):
			return fmt.Errorf("close etcd: still running after %s", closeTimeout)
		}
	}
	e.unlock()
	return nil
}
