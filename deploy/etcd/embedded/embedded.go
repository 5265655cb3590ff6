package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"refship/deploy/etcd"
	"refship/deploy/fault"
)

const (
	defaultQuota = 8 << 30 // etcd's recommended maximum
	maxSocket    = 107     // bytes of a unix socket's path: sun_path without its NUL
	// closeTimeout is how long etcd may take to end; etcd that has failed may not end at all.
	closeTimeout, failedCloseTimeout = 15 * time.Second, time.Second
	// startedTimeout is how long a start that has failed is waited for, to close what it has opened.
	startedTimeout = 5 * time.Second
)

// memberName is what the member is called, and peerURL where others would reach it: a member must advertise one. There
// is no listener, and port 0 cannot be connected to.
const memberName = "refship"

var peerURL = url.URL{Scheme: "http", Host: "127.0.0.1:0"}

// Reasons of errors whose remedy is a setting of the program that starts etcd.
const (
	ReasonBroken      fault.Reason = "etcd-broken"       // About: Config.Dir
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
	// NoSync is for tests: what etcd has acknowledged outlives the process, but not the machine.
	NoSync bool
}

// Etcd is an etcd of one member that runs in this process.
type Etcd struct {
	etcd   *embed.Etcd
	server atomic.Pointer[etcdserver.EtcdServer] // of etcd; nil: it starts
	client *clientv3.Client
	remote *clientv3.Client // carries the client's watches
	dir    string
	unlock func() // of the directory
	addr   string

	beforeDefrag atomic.Pointer[func(context.Context) (func(), error)] // nil: nothing is to be called

	closing context.Context // ends when Close begins, and ends the streams of remote clients
	stop    context.CancelFunc
	calls   calls
	// snapshots is held by each snapshot that is read, shared, and by a defragmentation alone.
	snapshots sync.RWMutex
	stuck     bool // the start hangs somewhere in etcd, and nothing can end it
	done      chan error

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
	boundDefrag()
	e := &Etcd{dir: dir, unlock: unlock, done: make(chan error, 1)}
	e.closing, e.stop = context.WithCancel(context.Background())
	e.calls.failed, e.calls.fail = context.WithCancelCause(context.Background())
	if err := e.run(ctx, cfg, listen); err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd in %s: %w", dir, err), e.Close())
	}
	e.client = newClient(e.etcd.Server, &e.calls)
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
	c.Name = memberName
	c.Dir = cfg.Dir
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcd.NewZap(cfg.Log, e.logLevel, fatalHook{e.calls.fail, &e.server}))

	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{peerURL}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: etcd.SocketPath(cfg.Dir)}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	if cfg.Listen != "" {
		c.ListenClientUrls = append(c.ListenClientUrls, listen.url)
		c.ClientTLSInfo = listen.tls
	}
	c.ListenMetricsUrls = nil
	c.EnableGRPCGateway = false

	c.QuotaBackendBytes = cfg.quota()
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = "1h"
	c.SnapshotCount = 10
	c.SnapshotCatchUpEntries = 2
	c.MaxWalFiles = 2

	c.UnsafeNoFsync = cfg.NoSync
	c.TickMs = 20
	c.ElectionMs = 100
	c.InitialElectionTickAdvance = true

	// On a slow disk, a batch of 1 MiB with its fsync takes longer than etcd's 100 ms.
	c.WarningApplyDuration = time.Second
	c.WarningUnaryRequestDuration = 3 * time.Second

	// Watches of remote clients do not end by themselves, and etcd's shutdown waits for each of them until its timeout.
	c.GRPCAdditionalServerOptions = []grpc.ServerOption{
		grpc.ChainStreamInterceptor(e.endStream, e.keepSnapshot),
		grpc.ChainUnaryInterceptor(e.guardDefrag, e.refuseDefrag),
	}
	return c
}

// run starts etcd and waits until it answers, for as long as startLimit says.
func (e *Etcd) run(ctx context.Context, cfg Config, listen listener) error {
	var size int64
	if info, err := os.Stat(dbPath(cfg.Dir)); err == nil {
		size = info.Size()
	}
	limit := startLimit(size)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, noAnswer(limit))
	defer cancel()
	m, err := e.look(ctx, cfg)
	if err != nil {
		return err
	}
	if err := e.open(ctx, e.config(cfg, listen)); err != nil {
		return e.explain(err)
	}
	select {
	case <-e.etcd.Server.ReadyNotify():
		return m.isOn(cfg.Log)
	case <-e.calls.failed.Done():
		err = context.Cause(e.calls.failed)
	case err = <-e.etcd.Err():
		err = listenerError(err)
	case <-e.etcd.Server.StopNotify():
		err = errors.New("etcd stopped")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return e.explain(err)
}

// look looks at what etcd would only panic about. It ends with ctx, also where the disk does not answer.
func (e *Etcd) look(ctx context.Context, cfg Config) (*member, error) {
	type result struct {
		member *member
		err    error
	}
	results := make(chan result, 1)
	go func() {
		m, err := openMember(cfg.Dir, cfg.Log)
		if err == nil {
			err = errors.Join(checkDisk(m), checkLimits(cfg.quota()))
		}
		results <- result{m, err}
	}()
	select {
	case r := <-results:
		return r.member, r.err
	case <-ctx.Done():
	}
	select {
	case <-results:
	case <-time.After(startedTimeout):
		e.stuck = true
	}
	return nil, context.Cause(ctx)
}

// open makes embed.StartEtcd end with ctx, and when etcd fails: it may wait for a goroutine that has ended.
func (e *Etcd) open(ctx context.Context, cfg *embed.Config) error {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	results := make(chan result, 1)
	go func() {
		var r result
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if p := recover(); p != nil {
				e.calls.fail(fmt.Errorf("panic: %v", p))
			}
			if r == (result{}) { // the fatalHook has ended this goroutine, or is about to
				r.err = errors.New("etcd gave up")
			}
			results <- r
		}()
		if r.etcd, r.err = embed.StartEtcd(cfg); r.err == nil {
			e.server.Store(r.etcd.Server)
		}
	}()
	patience := startedTimeout
	select {
	case r := <-results:
		e.etcd = r.etcd
		if e.calls.failed.Err() != nil {
			return context.Cause(e.calls.failed)
		}
		return r.err
	case <-e.calls.failed.Done():
		ctx, patience = e.calls.failed, failedCloseTimeout
	case <-ctx.Done():
	}
	select { // there may be something to close
	case r := <-results:
		e.etcd = r.etcd
	case <-time.After(patience):
		e.stuck = true
	}
	return context.Cause(ctx)
}

// explain says what to do about an error of etcd's own at its start: openMember has found nothing.
func (e *Etcd) explain(err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return &fault.Error{
			Remedy: "another program listens there: listen on another address",
			Reason: ReasonListenTaken,
			Cause:  err,
		}
	case errors.Is(err, context.Canceled), fault.KindOf(err) != fault.Failed:
		return err
	case isFull(err):
		return &fault.Error{Kind: fault.Unavailable, Remedy: "free some space there", Cause: err}
	}
	return &fault.Error{
		Kind: fault.Unavailable, Cause: err,
		Remedy: "look at the disk of " + e.dir + " and at the log above; " +
			"if etcd's files are damaged, restore them from a backup",
	}
}

// noAnswer is the error of a start that takes too long.
func noAnswer(limit time.Duration) error {
	return fault.New(fault.Unavailable, fmt.Sprintf("no answer within %s", limit),
		"look at its disk, which may be too slow or broken, and at the log above")
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
	case <-e.calls.failed.Done():
	case err = <-e.etcd.Err():
		err = listenerError(err)
	case <-e.etcd.Server.StopNotify():
		err = errors.New("etcd stopped")
	}
	if e.closing.Err() == nil {
		e.calls.fail(err) // what fatalHook has told is why all else ends
		e.done <- e.Err()
	}
}

// Err says why etcd cannot go on, nil if it can. From then on every call of Client fails, at once.
func (e *Etcd) Err() error {
	if e.calls.failed.Err() == nil {
		return nil
	}
	err := context.Cause(e.calls.failed)
	remedy := "look at the disk of " + e.dir + ", and start again: what is broken is looked for at the start"
	if isFull(err) {
		remedy = "free some space on the disk of " + e.dir + ", and start again"
	}
	return fault.New(fault.Unavailable, "run etcd: "+err.Error(), remedy)
}

// isFull tells whether err is that of a disk without room.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

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

// Remote is a client over the socket, for what needs a connection: raw requests, and watches. It belongs to the Etcd,
// too.
func (e *Etcd) Remote() *clientv3.Client { return e.remote }

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
	if e.stuck {
		return nil // Start's error says so, and whatever hangs still has the files open
	}
	limit := closeTimeout
	failed := e.calls.failed.Err() != nil
	if failed {
		limit = failedCloseTimeout
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if e.client != nil {
			_ = e.client.Close() // gives its cancelled context's error, always
		}
		if e.remote != nil {
			_ = e.remote.Close() // as above
		}
		if e.etcd != nil {
			e.etcd.Close()
		}
		e.calls.close()
	}()
	select {
	case <-ended:
		e.unlock()
	case <-time.After(limit):
		if !failed { // else it was told, and that it hangs is a part of it
			return fmt.Errorf("close etcd: still running after %s", limit)
		}
	}
	return nil
}

// quota is how many bytes the database may hold.
func (cfg *Config) quota() int64 {
	if cfg.Quota > 0 {
		return cfg.Quota
	}
	return defaultQuota
}
