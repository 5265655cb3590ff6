package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy"
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
	EtcdCertFile      string `variable:"" placeholder:"FILE" help:"Certificate for --etcd-listen."`
	EtcdKeyFile       string `variable:"" placeholder:"FILE" help:"Key of that certificate."`
	EtcdTrustedCAFile string `variable:"" name:"etcd-trusted-ca-file" placeholder:"FILE" help:"CA of the client certificates that --etcd-listen accepts."`
	HTTP              string `variable:"" name:"http" placeholder:"HOST:PORT" help:"Answer /livez, /readyz and /metrics there, for monitoring. There is no password: choose a loopback address or a private network."`
	HTTPProfiles      bool   `variable:"" name:"http-profiles" help:"Answer /debug/pprof there, too, which shows the inside of the process."`
	limitFlags
	LogLevel  string `variable:"" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" help:"What to log: debug, info, warn or error. Default: info."`
	LogFormat string `variable:"" default:"text" enum:"text,json" placeholder:"FORMAT" help:"How to log: text or json. Default: text."`
}

func (*serveCmd) Help() string {
	return "After SIGTERM or SIGINT running pushes may finish, for at most " + pushGrace.String() + ". " +
		"A second signal ends the server at once."
}

// Run serves until a signal comes or something breaks.
func (c *serveCmd) Run(ctx context.Context, a *app) (err error) {
	log := c.logger(a)
	if err := c.check(ctx); err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	hook, err := findHookBinary(a)
	if err != nil {
		return err
	}
	if err := dir.prepare(a); err != nil {
		return err
	}
	unlock, err := dir.lock()
	if err != nil {
		return err
	}
	defer unlock()
	etcd, err := c.openEtcd(ctx, dir, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, etcd)
	s := &server{
		app: a, dir: dir, log: log, etcd: etcd, store: deploy.NewStore(etcd.client, lockTTL, log), flags: c,
	}
	return s.run(ctx, hook)
}

// check refuses flags that contradict each other.
func (c *serveCmd) check(ctx context.Context) error {
	if err := checkAddress("--listen", c.Listen); err != nil {
		return err
	}
	if c.HTTP != "" {
		if err := checkAddress("--http", c.HTTP); err != nil {
			return err
		}
	}
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	switch {
	case len(c.Endpoints) > 0 && c.EtcdListen != "":
		return usagef("--endpoints and --etcd-listen can't be used together: --etcd-listen is about the embedded etcd")
	case c.HTTPProfiles && c.HTTP == "":
		return usagef("--http-profiles belongs to --http, which is missing")
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

// embedded is where the embedded etcd listens.
func (c *serveCmd) embedded() *embedded.Config {
	return &embedded.Config{
		Listen: c.EtcdListen, CertFile: c.EtcdCertFile, KeyFile: c.EtcdKeyFile, TrustedCAFile: c.EtcdTrustedCAFile,
	}
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

// logger makes the server's log. With JSON all that is said from here on goes that way, too.
func (c *serveCmd) logger(a *app) *slog.Logger {
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
	lines    []string       // what to tell the operator
}

func (c *serveCmd) openEtcd(ctx context.Context, dir dataDir, log *slog.Logger) (*openEtcd, error) {
	if len(c.Endpoints) > 0 {
		client, err := etcd.Dial(ctx, c.config(log))
		if err != nil {
			return nil, err
		}
		return &openEtcd{client: client, lines: []string{"etcd at " + strings.Join(c.Endpoints, ", ")}}, nil
	}
	cfg := c.embedded()
	cfg.Dir, cfg.Log = dir.etcd(), log
	own, err := embedded.Start(ctx, *cfg)
	if err != nil {
		return nil, err
	}
	s := &openEtcd{client: own.Client(), embedded: own}
	space, err := etcd.ReadSpace(ctx, s.client)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	s.lines = []string{
		fmt.Sprintf("etcd embedded in %s (%s of %s)", dir.etcd(), text.Size(space.Used), text.Size(space.Quota)),
	}
	if addr := own.Addr(); addr != "" {
		scheme := "http"
		if c.EtcdCertFile != "" {
			scheme = "https"
		}
		s.lines = append(s.lines, fmt.Sprintf("etcd listening on %s://%s", scheme, addr))
	}
	return s, nil
}

// Close ends the connection, and an embedded etcd, which bounds how long that takes.
func (s *openEtcd) Close() error {
	if s.embedded != nil {
		return s.embedded.Close()
	}
	return s.client.Close()
}

// failed gives the error of an embedded etcd that cannot go on. It gives nothing for another etcd.
func (s *openEtcd) failed() <-chan error {
	if s.embedded == nil {
		return nil
	}
	return s.embedded.Done()
}
