package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"refship/cmd/refship/monitor"
	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/etcd/gate"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/gitserver"
	"refship/gitserver/repos"
	"refship/gitserver/web"
	"refship/gitserver/web/session"
	"refship/hooks"
	"refship/hooks/notify"
	"refship/hooks/signed"
	"refship/hooks/target"
	"refship/hooks/words"
	"refship/keys"
)

// server is one run of `refship serve`.
type server struct {
	*app
	dir   dataDir
	log   *slog.Logger
	etcd  *openEtcd
	store *deploy.Store
	flags *serveCmd
	room  *disk.Room
	page  *web.Web // nil: there is none

	serving *atomic.Bool        // the port is open
	upkeep  *semaphore.Weighted // 1: a scrub or gc runs
	pushed  chan struct{}       // something was published since it was looked at
	hint    *roomHint           // of an etcd without room
	ssh     words.Commands      // as users give them
	door    *session.Door       // of the page; nil: there is none
	pageURL *url.URL

	notifier *notify.Notifier
}

// run wires the parts, recovers from an earlier run, and serves.
func (s *server) run(ctx context.Context, hook string) (err error) {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find host name: %w", err)
	}
	hostKeys, made, err := s.hostKeys(ctx, host)
	if err != nil {
		return err
	}
	signer, err := s.dir.signingKey().loadOrCreate(host)
	if err != nil {
		return err
	}
	if _, err := s.dir.signers(s.app); err != nil {
		return err
	}
	nonceSeed, err := s.dir.nonceSeed()
	if err != nil {
		return err
	}
	watch, watchLines, err := s.openMonitor(ctx)
	if err != nil {
		return err
	}
	defer closeInto(&err, watch)
	defer s.release()
	s.notifier = s.newNotifier()
	hookServer, remedy, err := s.newHooks(signer, host, hook, watch)
	if err != nil {
		return err
	}
	repositories, err := s.recover(ctx, hookServer, s.identity(signer)())
	if err != nil {
		return err
	}
	s.warnDenied(ctx, repositories)
	listener, err := listen(ctx, "--listen", s.flags.Listen)
	if err != nil {
		return err
	}
	git, err := gitserver.New(gitserver.Config{
		Listener: listener, HostKeys: hostKeys, Keys: s.dir.keys(), Repos: s.dir.repos(), Hooks: hookServer, Room: s.room,
		Gates: gate.NewServer(s.etcd.remote()), Log: s.log, Remedy: remedy, Limits: s.flags.limits(),
		NonceSeed: nonceSeed, Link: s.link,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := s.announce(listener.Addr(), hostKeys[0], repositories, watchLines); err != nil {
		return errors.Join(err, listener.Close())
	}
	made()
	s.serving.Store(true)
	stats := func() monitor.Stats { return monitor.Stats(git.Stats()) }
	return s.serve(ctx, git, hookServer, func(ctx context.Context) error {
		return watch.Run(ctx, monitor.Server{
			Addr: listener.Addr(), Stats: stats, Hooks: hookServer, Storage: git.Storage, Notified: notified(s.notifier),
		})
	}, s.notifier.Run, hookServer.RunNotes, func(ctx context.Context) error { return s.scrub(ctx, watch) },
		func(ctx context.Context) error { return s.collect(ctx, watch, s.identity(signer)) }, s.tellChanges,
		func(ctx context.Context) error { return s.rollOut(ctx, hookServer, host, s.identity(signer)) })
}

// identity gives what names the server to others, and to its next run: the fingerprint of the key that signs now, which a
// rotation changes. began is the one that it began with.
func (s *server) identity(began ssh.Signer) func() string {
	return func() string {
		signer := began
		if is, err := s.dir.signingKeys(); err == nil {
			signer = is.Now
		}
		return ssh.FingerprintSHA256(signer.PublicKey())
	}
}

// newHooks makes the hooks' server, and the words of remedies for its users.
func (s *server) newHooks(signer ssh.Signer, host, hook string, watch *monitor.Monitor) (
	hookServer *hooks.Server, remedy func(error) string, err error,
) {
	remedy = func(err error) string { return strings.ReplaceAll(s.remedyOf(err), "ssh HOST ", hookServer.SSH()+" ") }
	hookServer, err = hooks.NewServer(hooks.Config{
		Store: s.store, Remedy: remedy, Signer: signer, Host: host, Dir: s.dir.run(), HookBinary: hook, Log: s.log,
		Rotation: s.dir.signingKeys,
		Trust: signed.Trust{
			Allowed: s.dir.readSigners, Keyring: openPGPKeys(s.dir.allowedSigners()),
			Users: func() ([]*keys.Key, error) { all, _, err := s.dir.keys().List(); return all, err },
		},
		MaxFile: int64(s.flags.MaxFileSize), GitMemory: gitserver.ReadingMemory(s.flags.gitMemory()),
		CheckLimit: time.Duration(s.flags.CheckLimit), Observe: watch.Report, Published: s.published, Step: s.step,
		Refused: s.notifier.Refused,
	})
	if err != nil {
		return nil, nil, err
	}
	hookServer.ListensOn(s.flags.port())
	s.guardDefrag(hookServer)
	return hookServer, remedy, nil
}

// hostKeys loads what clients know the server by, or makes it, if no key of the server was lost: the ed25519 key first,
// which is shown at the start. made logs the second one, if it is new.
func (s *server) hostKeys(ctx context.Context, host string) (both []ssh.Signer, made func(), err error) {
	if err := s.refuseLostKeys(ctx); err != nil {
		return nil, nil, err
	}
	first, err := s.dir.hostKey().loadOrCreate(host)
	if err != nil {
		return nil, nil, err
	}
	missing, err := s.dir.secondHostKey().isMissing()
	if err != nil {
		return nil, nil, err
	}
	second, err := s.dir.secondHostKey().loadOrCreate(host)
	if err != nil {
		return nil, nil, err
	}
	return []ssh.Signer{first, second}, func() {
		if missing {
			s.log.InfoContext(ctx, "made an ECDSA host key for clients that know no ed25519", "path", s.dir.secondHostKey().path,
				"fingerprint", ssh.FingerprintSHA256(second.PublicKey()))
		}
	}, nil
}

// remedyOf words a remedy for users of this server.
func (s *server) remedyOf(err error) string {
	return cmp.Or(s.hint.remedyOf(err), serverRemedyOf(err))
}

// release gives the chain locks back.
func (s *server) release() {
	if err := releaseLocks(s.store); err != nil {
		s.log.Warn("release locks", "error", err)
	}
}

// serve runs the parts together until ctx ends or one of them fails. The hooks outlive the git server: its last
// pushes need them.
func (s *server) serve(
	ctx context.Context, git *gitserver.Server, hookServer *hooks.Server, beside ...func(context.Context) error,
) error {
	group, groupCtx := errgroup.WithContext(ctx)
	hookCtx, stopHooks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHooks()
	group.Go(func() error {
		defer stopHooks()
		return git.Run(groupCtx, func() time.Duration {
			if s.etcd.broken() != nil {
				return brokenGrace
			}
			return pushGrace
		})
	})
	group.Go(func() error { return hookServer.Run(hookCtx) })
	for _, part := range beside {
		group.Go(func() error { return part(groupCtx) })
	}
	group.Go(func() error {
		<-groupCtx.Done()
		s.notify(daemon.SdNotifyStopping)
		if ctx.Err() != nil {
			s.say("%s: letting running pushes finish", context.Cause(ctx))
		}
		return nil
	})
	group.Go(func() error {
		select {
		case err := <-s.etcd.failed():
			if err != nil {
				err = s.etcd.broken()
				time.AfterFunc(brokenTime, func() { // whatever hangs then
					s.fail(err, remedyOf(err))
					os.Exit(exitCode(err))
				})
			}
			return err
		case <-hookCtx.Done():
			return nil
		}
	})
	return group.Wait()
}

// recover finishes what an earlier run of this server left behind: it removes its chain locks, and publishes pushes
// whose ref has moved and whose deploy was not published. The port is not open yet. If that fails for a repository,
// it says so, and the others are served.
func (s *server) recover(ctx context.Context, hookServer *hooks.Server, self string) ([]*repos.Repository, error) {
	repositories, err := s.dir.repos().List()
	if err != nil {
		s.warn(err)
	}
	for _, repo := range repositories {
		if err := s.dir.repos().CheckOwner(repo.Name); err != nil {
			s.warn(fmt.Errorf("%w; %s", err, fault.RemedyOf(err)))
		}
		for _, target := range repo.Targets {
			removed, err := s.store.Chain(target.Namespace).BreakDeadLock(ctx,
				func(h record.Holder) bool { return h.Server == self })
			if err != nil && !errors.Is(err, etcd.ErrDenied) { // Reconcile tells that, and so will each push
				return nil, fmt.Errorf("repository %s: %w", repo.Name, err)
			}
			if removed {
				s.say("%s: removed the lock of an earlier run", target.Namespace)
			}
		}
		hookServer.NoteLater(repo.Dir)
		lines, err := hookServer.Reconcile(ctx, repo.Name, repo.Dir, true)
		s.tell(lines...)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, etcd.ErrUnreachable):
			return nil, err
		case err != nil:
			s.warn(err)
		}
	}
	return repositories, nil
}

// permissionTime bounds the look at etcd's permissions at the start.
const permissionTime = 2 * time.Second

// warnDenied warns of each namespace whose pushes will be refused, because etcd's role may not write there.
func (s *server) warnDenied(ctx context.Context, listed []*repos.Repository) {
	ctx, cancel := context.WithTimeout(ctx, permissionTime)
	defer cancel()
	denied, err := s.store.Denied(ctx, target.Namespaces(repos.AllTargets(listed)))
	if err != nil {
		s.warn(err)
	}
	for _, err := range denied {
		s.warn(fmt.Errorf("%w; %s", err, fault.RemedyOf(err)))
	}
}

// listen opens the address that a flag names.
func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	network := "tcp"
	if host, err := netip.ParseAddrPort(address); err == nil && host.Addr().Is4() {
		network = "tcp4" // with "tcp", Go takes 0.0.0.0 for every IPv6 address, too
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, network, address)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fault.New(fault.Failed,
			fmt.Sprintf("listen on %s: the address is taken by another program", address),
			"stop that program, or choose another address with "+flag+" HOST:PORT")
	case errors.Is(err, unix.EACCES):
		return nil, fault.New(fault.Failed,
			fmt.Sprintf("listen on %s: no permission", address),
			"ports below 1024 need a privilege; choose another with "+flag+" HOST:PORT")
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fault.New(fault.Failed,
			fmt.Sprintf("listen on %s: this machine does not have that address", address),
			"choose one that it has with "+flag+" HOST:PORT, or all of them with "+flag+" :PORT")
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}

// announce says that the port is open, and what a first user must do. It is one write: a program that waits for the
// first line has them all.
func (s *server) announce(addr net.Addr, hostKey ssh.Signer, repositories []*repos.Repository, more []string) error {
	lines := []string{fmt.Sprintf("listening on ssh://%s, host key %s", addr, ssh.FingerprintSHA256(hostKey.PublicKey()))}
	lines = append(lines, s.etcd.lines...)
	lines = append(lines, more...)
	lines = append(lines, describeRepos(repositories))
	all, bad, err := s.dir.keys().List()
	if err != nil {
		return err
	}
	for _, line := range bad {
		lines = append(lines, "warning: "+line.Error())
	}
	if len(all) == 0 {
		lines = append(lines,
			"no keys; add yours with: refship key add NAME --key ~/.ssh/id_ed25519.pub --allow admin"+s.dir.flag())
	}
	if len(repositories) == 0 {
		lines = append(lines, "make a repository with: refship repo create NAME"+s.dir.flag())
	}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		s.ssh.ListensOn(tcp.Port)
		if err := disk.WriteFile(s.dir.portFile(), fmt.Appendln(nil, tcp.Port), 0o600); err != nil {
			s.warn(fmt.Errorf("note the port for hints: %w", err))
		}
	}
	if err := disk.WriteFile(s.dir.formatFile(), fmt.Appendln(nil, s.flags.ObjectFormat), 0o600); err != nil {
		return fmt.Errorf("note the object format for repo create: %w", err)
	}
	s.tell(lines...)
	s.notify(daemon.SdNotifyReady + "\nSTATUS=" + text.Printable(lines[0]))
	return nil
}

// notify tells systemd, if that started the server as Type=notify (sd_notify(3)).
func (s *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("tell systemd", "error", err)
	}
}

// maxListed bounds the repositories that are named at the start.
const maxListed = 10

func describeRepos(repositories []*repos.Repository) string {
	if len(repositories) == 0 {
		return "no repositories"
	}
	var names []string
	for _, repo := range repositories {
		names = append(names, fmt.Sprintf("%s (%s)", repo.Name, describeTargets(repo.Targets)))
	}
	return text.Plural(len(repositories), "repository", "repositories") + ": " + text.First(maxListed, names)
}
