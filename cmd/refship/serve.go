package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	defaultPort = "2222"
	// lockTTL is how long a chain stays locked after a server has died.
	lockTTL = 60 * time.Second
	// pushGrace is how long running pushes may take to finish after the first SIGTERM.
	pushGrace = 30 * time.Second
	// brokenGrace is the same when the embedded etcd has failed: a push that needs it has heard so. brokenTime is how
	// long the whole end may take then.
	brokenGrace, brokenTime = 3 * time.Second, 10 * time.Second
	// stopTime is how long the end may take in all; after that the process ends as it is. It is more than pushes, locks
	// and the embedded etcd may take together, and less than TimeoutStopSec of contrib/systemd. At the start no push can
	// be running.
	stopTime, stopTimeAtStart = 70 * time.Second, 20 * time.Second
	// releaseTime is how long etcd may take to give locks back at the end.
	releaseTime = 5 * time.Second
	// hookBinary is the program that git runs as a hook, beside this one.
	hookBinary = "refship-hook"
)

type serveCmd struct {
	dataFlag
	etcdFlags
	Listen            string `variable:"" default:":2222" placeholder:"HOST:PORT" help:"Where to listen for SSH. Default: :2222; port 0 takes a free one."`
	EtcdListen        string `variable:"" placeholder:"HOST:PORT" help:"Let other programs reach the embedded etcd: over plain HTTP on a loopback address, elsewhere over TLS with client certificates, for which the three files are needed."`
	EtcdQuota         quota  `variable:"" default:"8GiB" placeholder:"SIZE" help:"How much the embedded etcd's database may hold, at least 16MiB. Another size counts from the next start on; a start with more room lets a full etcd take writes again. Default: 8GiB."`
	EtcdCertFile      string `variable:"" placeholder:"FILE" help:"Certificate for --etcd-listen."`
	EtcdKeyFile       string `variable:"" placeholder:"FILE" help:"Key of that certificate."`
	EtcdTrustedCAFile string `variable:"" name:"etcd-trusted-ca-file" placeholder:"FILE" help:"CA of the client certificates that --etcd-listen accepts."`
	httpFlags
	ObjectFormat objectFormat `variable:"" default:"sha1" placeholder:"FORMAT" help:"Which hash names objects in repositories that refship repo create makes without a format of their own: sha1 or sha256. Default: sha1, git's own default."`
	limitFlags
	ScrubEvery interval `variable:"" default:"24h" placeholder:"TIME" help:"How often to read all that the newest deploys need out of etcd, check every byte, and repair it from the repositories; 0 is never. Default: 24h."`
	GCEvery    interval `variable:"" name:"gc-every" default:"24h" placeholder:"TIME" help:"How often to take content out of etcd that no kept deploy needs, as refship gc does, and then to compact and defragment the embedded etcd; 0 is never. Default: 24h."`
	logFlags
}

// logFlags are on every command that runs until it is stopped.
type logFlags struct {
	LogLevel  string `variable:"" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" help:"What to log: debug, info, warn or error. Default: info."`
	LogFormat string `variable:"" default:"text" enum:"text,json" placeholder:"FORMAT" help:"How to log: text or json. Default: text."`
}

func (*serveCmd) Help() string {
	return "After SIGTERM, SIGINT or SIGHUP running pushes may finish, for at most " + pushGrace.String() + ". " +
		"A second signal ends the server at once. Nothing has to be read anew: keys and repositories count as soon as " +
		"they are changed."
}

// Run serves until a signal comes or something breaks.
func (c *serveCmd) Run(ctx context.Context, a *app) (err error) {
	// A crash, of a goroutine of etcd's for example, ends the process by a signal then: its status would be 2, that of a
	// wrong command line, with which systemd does not start the server again. A core would have its keys.
	debug.SetTraceback("crash")
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid cores: %w", err)
	}
	log := c.logger(a)
	collectGarbageSooner()
	serving := new(atomic.Bool)
	defer endAnyway(ctx, a, serving)()
	if err := c.check(ctx); err != nil {
		return err
	}
	hook, err := findHookBinary(a)
	if err != nil {
		return err
	}
	dir, release, err := c.take(a)
	if err != nil {
		return err
	}
	defer release()
	etcd, err := c.openEtcd(ctx, dir, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, etcd)
	defer func() {
		if broken := etcd.broken(); broken != nil { // all else that went wrong comes from it
			err = broken
		} else if etcd.embedded != nil {
			err = onEtcdsDisk(err)
		}
	}()
	room := new(disk.Room)
	s := &server{
		app: a, dir: dir, log: log, etcd: etcd, flags: c, room: room, serving: serving, upkeep: semaphore.NewWeighted(1),
		pushed: make(chan struct{}, 1),
		store: deploy.NewStore(etcd.client, deploy.Config{
			LeaseTTL: lockTTL, Log: log, Signers: dir.readSigners, EtcdDir: etcd.dir, Room: room, KeptFree: etcd.keptFree,
		}),
	}
	s.hint = s.roomHint()
	return s.run(ctx, hook)
}

// collectGarbageSooner has garbage collected when it is two fifths of what is in use, and not as much: what a large
// push leaves is in blocks of 1 MiB, cheap to collect and dear to keep. GOGC is Go's own setting for it.
func collectGarbageSooner() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(40)
	}
}

// endAnyway ends the process some time after ctx, whatever hangs then: a file system that does not answer, for one. It
// does not if ended is called before.
func endAnyway(ctx context.Context, a *app, serving *atomic.Bool) (ended func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		limit := stopTimeAtStart
		if serving.Load() {
			limit = stopTime
		}
		select {
		case <-done:
		case <-time.After(limit):
			a.fail(fmt.Errorf("%w; %s later something still hangs, and the server ends without it", context.Cause(ctx), limit),
				"what a push has left is put in order at the next start")
			os.Exit(exitFailed)
		}
	}()
	return func() { close(done) }
}

// check refuses flags that contradict each other.
func (c *serveCmd) check(ctx context.Context) error {
	if err := checkAddress("--listen", c.Listen); err != nil {
		return err
	}
	if err := c.httpFlags.check(); err != nil {
		return err
	}
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	if err := c.limitFlags.check(); err != nil {
		return err
	}
	switch {
	case len(c.Endpoints) > 0 && c.EtcdListen != "":
		return usagef("--endpoints and --etcd-listen can't be used together: --etcd-listen is about the embedded etcd")
	case len(c.Endpoints) > 0 && c.EtcdQuota != defaultQuota:
		return usagef("--endpoints and --etcd-quota can't be used together: --etcd-quota is about the embedded etcd")
	}
	if c.EtcdListen == "" {
		if c.EtcdCertFile != "" || c.EtcdKeyFile != "" || c.EtcdTrustedCAFile != "" {
			return usagef("--etcd-cert-file, --etcd-key-file and --etcd-trusted-ca-file " +
				"belong to --etcd-listen, which is missing")
		}
		return nil
	}
	if err := checkAddress("--etcd-listen", c.EtcdListen); err != nil {
		return err
	}
	if err := c.embedded().CheckListen(ctx); err != nil {
		return fmt.Errorf("--etcd-listen %s: %w", c.EtcdListen, err)
	}
	return nil
}

// embedded is where the embedded etcd listens, and what it may hold.
func (c *serveCmd) embedded() *embedded.Config {
	return &embedded.Config{
		Listen: c.EtcdListen, CertFile: c.EtcdCertFile, KeyFile: c.EtcdKeyFile, TrustedCAFile: c.EtcdTrustedCAFile,
		Quota: int64(c.EtcdQuota),
	}
}

// port is the one that --listen names; 0: any.
func (c *serveCmd) port() int {
	_, text, _ := net.SplitHostPort(c.Listen)
	port, _ := strconv.Atoi(text) // check has refused what is none
	return port
}

func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("%s: %q is not HOST:PORT", flag, address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return usagef("%s: %q is not HOST:PORT: a port is a number up to 65535", flag, address)
	}
	return nil
}

// logger makes the log. With JSON all that is said from here on goes that way, too.
func (c *logFlags) logger(a *app) *slog.Logger {
	level := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[c.LogLevel]
	var handler slog.Handler = slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: durationText})
		a.speech = slog.New(slog.NewJSONHandler(a.stderr, nil)) // at any level of the log, as without JSON
	}
	log := slog.New(withFailpoint(a, handler))
	captureLogs(log)
	return log
}

// durationText writes a duration as the text log does; slog's JSON has nanoseconds.
func durationText(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		attr.Value = slog.StringValue(attr.Value.Duration().String())
	}
	return attr
}

// findHookBinary looks for refship-hook beside this program, where a symbolic link leads to.
func findHookBinary(a *app) (string, error) {
	self, err := a.executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("find %s: %w", hookBinary, err)
	}
	path := filepath.Join(filepath.Dir(self), hookBinary)
	if err := unix.Access(path, unix.X_OK); err != nil {
		return "", fault.New(fault.Failed, fmt.Sprintf("find %s: %s: %v", hookBinary, path, err),
			"git runs it as a hook: install refship and "+hookBinary+" side by side in one directory")
	}
	return path, nil
}

// openEtcd is the etcd in use.
type openEtcd struct {
	client   *etcd.Client
	embedded *embedded.Etcd // nil for --endpoints
	dir      string         // of embedded; "" for --endpoints
	keptFree int64          // bytes of embedded's quota that are for gc alone
	lines    []string       // what to tell the operator
}

// open dials --endpoints, or else starts the embedded etcd of the data directory, whose lock the caller has.
func (f *etcdFlags) open(ctx context.Context, dir dataDir, cfg *embedded.Config, log *slog.Logger) (*openEtcd, error) {
	if len(f.Endpoints) > 0 {
		client, err := etcd.Dial(ctx, f.config(log))
		if err != nil {
			return nil, err
		}
		return &openEtcd{client: client}, nil
	}
	cfg.Dir, cfg.Log = dir.etcd(), log
	own, err := embedded.Start(ctx, *cfg)
	if err != nil {
		return nil, err
	}
	return &openEtcd{client: own.Client(), embedded: own, dir: cfg.Dir}, nil
}

func (c *serveCmd) openEtcd(ctx context.Context, dir dataDir, log *slog.Logger) (*openEtcd, error) {
	s, err := c.open(ctx, dir, c.embedded(), log)
	if err != nil {
		return nil, err
	}
	if s.embedded == nil {
		s.lines = []string{"etcd at " + text.Endpoints(c.Endpoints...)}
		return s, nil
	}
	if err := c.reclaim(ctx, s, dir, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if addr := s.embedded.Addr(); addr != "" {
		scheme, who := "http", "every account of this machine"
		if c.EtcdCertFile != "" {
			scheme, who = "https", "everybody with a certificate that "+c.EtcdTrustedCAFile+" signed"
		}
		s.lines = append(s.lines, fmt.Sprintf("etcd listening on %s://%s", scheme, addr),
			"warning: "+who+" can deploy through "+addr+", past all keys and rules")
	}
	return s, nil
}

// remote is a client with a connection.
func (s *openEtcd) remote() *etcd.Client {
	if s.embedded != nil {
		return s.embedded.Remote()
	}
	return s.client
}

// Close ends the connection, and an embedded etcd, which bounds how long that takes.
func (s *openEtcd) Close() error {
	if s.embedded != nil {
		return s.embedded.Close()
	}
	return s.client.Close()
}

// onEtcdsDisk is the error of a server whose data directory an embedded etcd is in: where that disk is full, etcd
// cannot go on for long, either.
func onEtcdsDisk(err error) error {
	if !errors.Is(err, unix.ENOSPC) || fault.KindOf(err) != fault.Failed {
		return err
	}
	return &fault.Error{Kind: fault.Unavailable, Remedy: "free some space there", Cause: err}
}

// broken is why an embedded etcd cannot go on, nil if it can, and for another etcd.
func (s *openEtcd) broken() error {
	if s.embedded == nil || s.embedded.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", etcd.ErrUnreachable, s.embedded.Err())
}

// failed gives the error of an embedded etcd that cannot go on. It gives nothing for another etcd.
func (s *openEtcd) failed() <-chan error {
	if s.embedded == nil {
		return nil
	}
	return s.embedded.Done()
}
