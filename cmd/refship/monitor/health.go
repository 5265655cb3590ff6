package monitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

const (
	// leastDisk is what must be free on the data directory's disk: room for a few pushes and etcd's log.
	leastDisk = 256 << 20
	// leastQuota is what must be left of etcd's quota: hardly any deploy fits into less.
	leastQuota = 16 << 20
)

// health probes whether the server lives and whether it is ready.
type health struct {
	dataDir string
	repos   repos.Dir
	store   *deploy.Store

	server   atomic.Pointer[Server] // nil: it starts
	stopping atomic.Bool            // it takes no new pushes
	scrubbed atomic.Pointer[Scrub]  // the last scrub; nil: there was none

	etcd        cached[struct{}]
	space       cached[space]
	permissions cached[permissions]
	ssh         cached[struct{}]
	written     cached[struct{}]
}

func newHealth(cfg Config) *health {
	h := &health{dataDir: cfg.DataDir, repos: cfg.Repos, store: cfg.Store}
	h.etcd.ask, h.space.ask, h.permissions.ask, h.ssh.ask = h.pingEtcd, h.readSpace, h.readPermissions, h.dialSSH
	h.written.ask = h.tryDisk
	return h
}

// live are the probes whose failure only a restart of the server ends.
func (h *health) live() []probe {
	return []probe{{"ssh", h.probeSSH}, {"hooks", h.probeHooks}}
}

// ready are the probes of all that a push needs.
func (h *health) ready() []probe {
	return append(h.live(), probe{"etcd", h.probeEtcd}, probe{"etcd-space", h.probeSpace},
		probe{"etcd-write", h.probeWrite}, probe{"disk", h.probeDisk}, probe{"serving", h.probeServing})
}

func (h *health) probeServing() error {
	switch {
	case h.server.Load() == nil:
		return errors.New("starting: finishing what an earlier run left behind")
	case h.stopping.Load():
		return errors.New("shutting down: running pushes may finish, new ones are refused")
	}
	return nil
}

// probeSSH passes if the port accepts connections, or if the server starts or stops.
func (h *health) probeSSH() error {
	if h.probeServing() != nil {
		return nil
	}
	_, err := h.ssh.get()
	return err
}

// dialSSH waits for the version that an SSH server sends first (RFC 4253, section 4.2). A server that has too many
// connections closes this one: it lives, too.
func (h *health) dialSSH(ctx context.Context) (none struct{}, err error) {
	addr := h.server.Load().Addr
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String()) // an unspecified address is this machine
	if err != nil {
		return none, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetReadDeadline(deadline)
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return none, fmt.Errorf("%s accepts connections and sends nothing for %s", addr, probeTime)
	}
	return none, nil
}

// probeHooks passes if git can run the hooks and they can reach the server, or if the server starts or stops.
func (h *health) probeHooks() error {
	if h.probeServing() != nil {
		return nil
	}
	if err := h.server.Load().Hooks.Probe(); err != nil {
		return fmt.Errorf("%w; restart refship", err)
	}
	return nil
}

func (h *health) probeEtcd() error {
	_, err := h.etcd.get()
	return err
}

// askEtcd probes etcd beside another probe, whose answer may be a second older.
func (h *health) askEtcd() <-chan error {
	answer := make(chan error, 1)
	go func() { answer <- h.probeEtcd() }()
	return answer
}

func (h *health) pingEtcd(ctx context.Context) (none struct{}, err error) {
	err = h.store.Ping(ctx)
	if fault.Is(err, fault.Refused) {
		err = withRemedy(err)
	}
	return none, err
}

// withRemedy puts an error and its remedy into one line.
func withRemedy(err error) error { return fmt.Errorf("%w; %s", err, fault.RemedyOf(err)) }

// errUnknown is the error of the other probes of etcd while the probe etcd fails, which says why.
var errUnknown = fault.New(fault.Unavailable, "unknown while etcd fails", "")

// space is what etcd holds and may hold.
type space struct {
	Used, InUse, Quota int64 // bytes; Quota 0: unknown
	NoSpace            bool  // the NOSPACE alarm is on
}

func (h *health) readSpace(ctx context.Context) (space, error) {
	found, err := h.store.Space(ctx)
	return space(found), err
}

func (h *health) probeSpace() error {
	etcd := h.askEtcd()
	now, err := h.space.get()
	free := now.Quota - now.Used
	switch {
	case <-etcd != nil, fault.Is(err, fault.Unavailable):
		return errUnknown
	case err != nil:
		return err
	case now.NoSpace:
		return errors.New("etcd's alarm NOSPACE is on: it takes no writes; " +
			"free space (compact, defragment) and disarm the alarm")
	case now.Quota > 0 && free < leastQuota:
		return fmt.Errorf("%s of etcd's quota of %s are free; free space (compact, defragment) or raise the quota",
			text.Size(max(free, 0)), text.Size(now.Quota))
	}
	return nil
}

// permissions are what etcd's authentication says of the namespaces of all targets.
type permissions struct {
	all    int
	denied []error // for each namespace that may not be read and written
}

func (h *health) readPermissions(ctx context.Context) (permissions, error) {
	listed, _ := h.repos.List() // with an error, those that can be read are there; refWatch tells the error
	namespaces := target.Namespaces(repos.AllTargets(listed))
	denied, err := h.store.Denied(ctx, namespaces)
	return permissions{all: len(namespaces), denied: denied}, err
}

// probeWrite fails where no namespace may be written: with some of them the server has something to do.
func (h *health) probeWrite() error {
	etcd := h.askEtcd()
	now, err := h.permissions.get()
	if <-etcd != nil {
		return errUnknown
	}
	if err != nil || len(now.denied) == 0 {
		return err
	}
	var lines warnings
	for _, err := range now.denied {
		lines = append(lines, withRemedy(err))
	}
	if len(lines) == now.all {
		return errors.Join(lines...)
	}
	return lines
}

// probeScrub warns of what the last scrub found. It never fails: a push would be taken and deployed.
func (h *health) probeScrub() error {
	last := h.scrubbed.Load()
	if last == nil || len(last.Warnings) == 0 {
		return nil
	}
	return warnings(last.Warnings)
}

func (h *health) probeDisk() error {
	_, err := h.written.get()
	return err
}

// tryDisk looks whether the data directory's disk has room, and writes there and to the repositories whose disk did not
// take a push.
func (h *health) tryDisk(context.Context) (none struct{}, err error) {
	free, err := disk.Free(h.dataDir)
	if err != nil {
		return none, fmt.Errorf("look at the data directory's disk: %w", err)
	}
	if free < leastDisk {
		return none, fmt.Errorf("%s are free on the disk of %s (least %s)", text.Size(free), h.dataDir,
			text.Size(leastDisk))
	}
	if err := disk.TryWrite(h.dataDir); err != nil {
		return none, fmt.Errorf("%s takes no file: %w", h.dataDir, disk.WithoutDir(err))
	}
	if server := h.server.Load(); server != nil {
		err = server.Storage()
	}
	return none, err
}
