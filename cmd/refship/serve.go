package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/gitserver"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/keys"
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
	EtcdListen        string `variable:"" placeholder:"HOST:PORT" help:"Let others reach the embedded etcd, too. Plain HTTP on a loopback address; elsewhere TLS with client certificates, so that the three files are needed."`
	EtcdCertFile      string `variable:"" placeholder:"FILE" help:"Certificate for --etcd-listen."`
	EtcdKeyFile       string `variable:"" placeholder:"FILE" help:"Key of that certificate."`
	EtcdTrustedCAFile string `variable:"" name:"etcd-trusted-ca-file" placeholder:"FILE" help:"CA of the client certificates that --etcd-listen accepts."`
	HTTP              string `variable:"" name:"http" placeholder:"HOST:PORT" help:"Answer /livez, /readyz and /metrics there, for monitoring. Whoever reaches it may ask: choose a loopback address or a private network."`
	HTTPProfiles      bool   `variable:"" name:"http-profiles" help:"Answer /debug/pprof there, too, which shows the inside of the process."`
	limitFlags
	LogLevel  string `variable:"" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" help:"What to log: debug, info, warn or error. Default: info."`
	LogFormat string `variable:"" default:"text" enum:"text,json" placeholder:"FORMAT" help:"How to log: text or json. Default: text."`
}

// Help is the long help.
func (*serveCmd) Help() string {
	return "SIGTERM or SIGINT lets running pushes finish, for at most " + pushGrace.String() + "; a second one ends the server at once."
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
	store, err := c.openStore(ctx, dir, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, store)
	s := &server{app: a, dir: dir, log: log, store: store, flags: c}
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
		return usagef("--endpoints and --etcd-listen can't be used together: only the embedded etcd can be told where to listen")
	case c.HTTPProfiles && c.HTTP == "":
		return usagef("--http-profiles belongs to --http, which is missing")
	}
	return c.checkEtcdListen(ctx)
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
	level := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[c.LogLevel]
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
		return "", &hintError{
			err:  fmt.Errorf("find %s: %s: %w", hookBinary, path, err),
			hint: "git runs it as a hook: install refship and " + hookBinary + " side by side in one directory",
		}
	}
	return path, nil
}

// etcdStore is the etcd in use.
type etcdStore struct {
	client   *etcd.Client
	embedded *embedded.Etcd // nil for --endpoints
	lines    []string       // what to tell the operator
}

func (c *serveCmd) openStore(ctx context.Context, dir dataDir, log *slog.Logger) (*etcdStore, error) {
	if len(c.Endpoints) > 0 {
		client, err := etcd.Dial(ctx, c.config(log))
		if err != nil {
			return nil, err
		}
		return &etcdStore{client: client, lines: []string{"etcd at " + strings.Join(c.Endpoints, ", ")}}, nil
	}
	own, err := embedded.Start(ctx, embedded.Config{
		Dir: dir.etcd(), Listen: c.EtcdListen, Log: log,
		CertFile: c.EtcdCertFile, KeyFile: c.EtcdKeyFile, TrustedCAFile: c.EtcdTrustedCAFile,
	})
	if err != nil {
		return nil, err
	}
	s := &etcdStore{client: own.Client(), embedded: own}
	space, err := etcd.ReadSpace(ctx, s.client)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	s.lines = []string{fmt.Sprintf("etcd embedded in %s (%s of %s)", dir.etcd(), text.Size(space.Used), text.Size(space.Quota))}
	if addr := own.Addr(); addr != "" {
		scheme := "http"
		if c.EtcdCertFile != "" {
			scheme = "https"
		}
		s.lines = append(s.lines, fmt.Sprintf("etcd listening on %s://%s", scheme, addr))
	}
	return s, nil
}

// Close ends the connection, and etcd if it is ours. Embedded etcd bounds by itself how long that takes.
func (s *etcdStore) Close() error {
	if s.embedded != nil {
		return s.embedded.Close()
	}
	return s.client.Close()
}

// failed gives the error of an embedded etcd that cannot go on; it never does for another one.
func (s *etcdStore) failed() <-chan error {
	if s.embedded == nil {
		return nil
	}
	return s.embedded.Done()
}

// server is one run of `refship serve`.
type server struct {
	*app
	dir   dataDir
	log   *slog.Logger
	store *etcdStore
	flags *serveCmd
}

// run wires the parts, puts right what an earlier run left behind, and serves.
func (s *server) run(ctx context.Context, hook string) (err error) {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find host name: %w", err)
	}
	hostKey, err := keys.LoadOrCreate(s.dir.hostKey(), "refship host key of "+host)
	if err != nil {
		return err
	}
	signer, err := keys.LoadOrCreate(s.dir.signingKey(), "refship signing key of "+host)
	if err != nil {
		return err
	}
	monitor, err := s.openMonitor(ctx)
	if err != nil {
		return err
	}
	defer closeInto(&err, monitor)
	store := deploy.NewStore(s.store.client, lockTTL, s.log)
	defer s.release(store)
	hookServer, err := hooks.NewServer(hooks.Config{
		Store: store, Remedy: serverRemedyOf, Signer: signer, Host: host, Dir: s.dir.run(), HookBinary: hook, Log: s.log,
		MaxFile: int64(s.flags.MaxFileSize), CheckLimit: time.Duration(s.flags.CheckLimit), Observe: monitor.observe(),
	})
	if err != nil {
		return err
	}
	repos, err := s.recover(ctx, hookServer, store, ssh.FingerprintSHA256(signer.PublicKey()))
	if err != nil {
		return err
	}
	s.warnDenied(ctx)
	listener, err := listen(ctx, "--listen", s.flags.Listen)
	if err != nil {
		return err
	}
	git, err := gitserver.New(gitserver.Config{
		Listener: listener, HostKey: hostKey, Keys: s.dir.keys(), Repos: s.dir.repos(), Hooks: hookServer, Log: s.log,
		Remedy: serverRemedyOf, Limits: s.flags.limits(),
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := s.announce(listener.Addr(), hostKey, repos, monitor.lines()); err != nil {
		return errors.Join(err, listener.Close())
	}
	monitor.serving(git, listener.Addr())
	return s.serve(ctx, git, hookServer, monitor)
}

// release gives the chain locks back; where etcd does not answer, they go by themselves with their lease.
func (s *server) release(store *deploy.Store) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	if err := store.Close(ctx); err != nil {
		s.log.Warn("release locks", "error", err)
	}
}

// serve runs the parts together until ctx ends or one of them fails. The hooks outlive the git server: its last pushes
// need them.
func (s *server) serve(ctx context.Context, git *gitserver.Server, hookServer *hooks.Server, monitor *monitor) error {
	group, groupCtx := errgroup.WithContext(ctx)
	hookCtx, stopHooks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHooks()
	group.Go(func() error {
		defer stopHooks()
		return git.Run(groupCtx, pushGrace)
	})
	group.Go(func() error { return hookServer.Run(hookCtx) })
	group.Go(func() error { monitor.watch(groupCtx, hookServer); return nil })
	group.Go(func() error {
		<-groupCtx.Done()
		monitor.stopping()
		s.notify(daemon.SdNotifyStopping)
		return nil
	})
	group.Go(func() error {
		select {
		case err := <-s.store.failed():
			if err == nil {
				return nil
			}
			return fmt.Errorf("%w: %w", etcd.ErrUnreachable, err)
		case err := <-monitor.broken():
			return err
		case <-hookCtx.Done():
			return nil
		}
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-hookCtx.Done(): // nothing was running: it is told all the same
		}
		if ctx.Err() != nil {
			s.tellf("%s: letting running pushes finish", context.Cause(ctx))
		}
		return nil
	})
	return group.Wait()
}

// recover puts right what an earlier run of this server left behind: its chain locks, and pushes whose ref has moved
// and whose deploy was not published. The port is not open yet. A repository that cannot be put right is told, and
// keeps none of the others from being served.
func (s *server) recover(
	ctx context.Context, hookServer *hooks.Server, store *deploy.Store, self string,
) ([]*repos.Repository, error) {
	repos, err := s.dir.repos().List()
	if err != nil {
		s.warn(err)
	}
	for _, repo := range repos {
		for _, target := range repo.Targets {
			unstuck, err := store.Chain(target.Namespace).BreakDeadLock(ctx, func(h record.Holder) bool { return h.Server == self })
			switch {
			case errors.Is(err, etcd.ErrDenied): // Reconcile says so, and that repository's pushes will
			case err != nil:
				return nil, fmt.Errorf("repository %s: %w", repo.Name, err)
			}
			if unstuck {
				s.tellf("%s: removed the lock of an earlier run", target.Namespace)
			}
		}
		lines, err := hookServer.Reconcile(ctx, repo.Name, repo.Dir, true)
		if len(lines) > 0 {
			s.tell(lines...)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, etcd.ErrUnreachable):
			return nil, err
		case err != nil:
			s.warn(err)
		}
	}
	return repos, nil
}

// listen opens the address that a flag names.
func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	network := "tcp"
	if host, err := netip.ParseAddrPort(address); err == nil && host.Addr().Is4() {
		network = "tcp4" // with "tcp", Go takes 0.0.0.0 for every address of IPv6, too
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, network, address)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, &hintError{
			err:  fmt.Errorf("listen on %s: the address is taken by another program", address),
			hint: "stop that program, or choose another address with " + flag + " HOST:PORT",
		}
	case errors.Is(err, unix.EACCES):
		return nil, &hintError{
			err:  fmt.Errorf("listen on %s: no permission", address),
			hint: "ports below 1024 need a privilege; choose another with " + flag + " HOST:PORT",
		}
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, &hintError{
			err:  fmt.Errorf("listen on %s: this machine does not have that address", address),
			hint: "choose one that it has with " + flag + " HOST:PORT, or all of them with " + flag + " :PORT",
		}
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}

// announce says that the port is open, and what a first user has to do. It is one write: who waits for the first line
// has them all.
func (s *server) announce(addr net.Addr, hostKey ssh.Signer, repos []*repos.Repository, more []string) error {
	lines := []string{fmt.Sprintf("listening on ssh://%s, host key %s", addr, ssh.FingerprintSHA256(hostKey.PublicKey()))}
	lines = append(lines, s.store.lines...)
	lines = append(lines, more...)
	lines = append(lines, describeRepos(repos))
	all, bad, err := s.dir.keys().List()
	if err != nil {
		return err
	}
	for _, line := range bad {
		lines = append(lines, "warning: "+line.Error())
	}
	if len(all) == 0 {
		lines = append(lines, "no keys; add yours with: refship key add NAME --key ~/.ssh/id_ed25519.pub --allow admin"+s.dir.flag())
	}
	if len(repos) == 0 {
		lines = append(lines, "make a repository with: refship repo create NAME"+s.dir.flag())
	}
	s.tell(lines...)
	s.notify(daemon.SdNotifyReady + "\nSTATUS=" + text.Printable(lines[0]))
	return nil
}

// notify tells systemd, where that started the server as Type=notify (sd_notify(3)).
func (s *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("tell systemd", "error", err)
	}
}

// maxListed bounds the repositories that are named at start.
const maxListed = 10

func describeRepos(repos []*repos.Repository) string {
	if len(repos) == 0 {
		return "no repositories"
	}
	var names []string
	for _, repo := range repos[:min(len(repos), maxListed)] {
		names = append(names, fmt.Sprintf("%s (%s)", repo.Name, describeTargets(repo.Targets)))
	}
	if more := len(repos) - maxListed; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return text.Plural(len(repos), "repository", "repositories") + ": " + strings.Join(names, ", ")
}
