package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/etcd"
	"refship/deploy/text"
)

const (
	// checkTime bounds a check of something that may not answer.
	checkTime = 2 * time.Second
	// cacheTime is how long an answer is used again: however many ask, etcd is asked this often.
	cacheTime = time.Second
	// leastDisk is what has to be free on the data directory's disk: room for a few pushes and etcd's log.
	leastDisk = 256 << 20
	// leastQuota is what has to be left of etcd's quota: less has room for hardly any deploy.
	leastQuota = 16 << 20
)

// cached keeps what ask gave for cacheTime, errors too.
type cached[T any] struct {
	ask func(context.Context) (T, error)

	mu    sync.Mutex
	at    time.Time
	value T
	err   error
}

func (c *cached[T]) get() (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= cacheTime {
		// Not the context of who asks: others get the same answer.
		ctx, cancel := context.WithTimeout(context.Background(), checkTime)
		defer cancel()
		c.value, c.err = c.ask(ctx)
		c.at = time.Now()
	}
	return c.value, c.err
}

// phase is where a server is in its life.
type phase int32

const (
	starting phase = iota
	serving
	stopping
)

// health knows whether the server lives and whether it is ready.
type health struct {
	dir    dataDir
	client *etcd.Client
	phase  atomic.Int32
	ssh    atomic.Pointer[net.Addr] // once it listens

	answers cached[struct{}] // etcd does
	space   cached[etcd.Space]
	writes  cached[writable]
	greets  cached[struct{}] // the SSH port does
}

func newHealth(dir dataDir, client *etcd.Client) *health {
	h := &health{dir: dir, client: client}
	h.answers.ask = h.askEtcd
	h.space.ask = func(ctx context.Context) (etcd.Space, error) { return etcd.ReadSpace(ctx, client) }
	h.writes.ask = (&permissions{repos: dir.repos(), client: client}).ask
	h.greets.ask = h.askSSH
	return h
}

// serving says that the server listens for SSH at addr.
func (h *health) serving(addr net.Addr) {
	h.ssh.Store(&addr)
	h.phase.Store(int32(serving))
}

// stopping says that no new push is taken.
func (h *health) stopping() { h.phase.Store(int32(stopping)) }

// check is one thing that has to be in order.
type check struct {
	name string
	run  func() error
}

// live are what only a new start of the server can put right.
func (h *health) live() []check {
	return []check{{"ssh", h.checkSSH}, {"hooks", h.checkHooks}}
}

// ready are what a push needs.
func (h *health) ready() []check {
	return append(h.live(), check{"etcd", h.checkEtcd}, check{"etcd-space", h.checkSpace},
		check{"etcd-write", h.checkWrite}, check{"disk", h.checkDisk}, check{"serving", h.checkPhase})
}

func (h *health) checkPhase() error {
	switch phase(h.phase.Load()) {
	case starting:
		return errors.New("starting: what an earlier run left behind is being put right")
	case stopping:
		return errors.New("shutting down: running pushes may finish, new ones are refused")
	}
	return nil
}

// checkSSH finds out whether the port takes connections. Before and after the server's time it does not have to.
func (h *health) checkSSH() error {
	if phase(h.phase.Load()) != serving {
		return nil
	}
	_, err := h.greets.get()
	return err
}

// askSSH waits for the version that an SSH server sends first (RFC 4253, section 4.2). A server that has too many
// connections closes this one: it lives, too.
func (h *health) askSSH(ctx context.Context) (struct{}, error) {
	var none struct{}
	addr := *h.ssh.Load()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String()) // an unspecified address is this machine
	if err != nil {
		return none, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetReadDeadline(deadline)
	if _, err := conn.Read(make([]byte, 1)); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return none, fmt.Errorf("%s takes connections and says nothing for %s", addr, checkTime)
	}
	return none, nil
}

// checkHooks finds out whether git can run the hooks and they can reach the server. Before the server's time they may
// not be there yet.
func (h *health) checkHooks() error {
	if phase(h.phase.Load()) == starting {
		return nil
	}
	for _, name := range []string{"hooks/pre-receive", "hooks/post-receive"} {
		path := filepath.Join(h.dir.run(), name)
		if err := unix.Access(path, unix.X_OK); err != nil {
			return fmt.Errorf("%s cannot be run: %w; start refship again", path, err)
		}
	}
	socket := filepath.Join(h.dir.run(), "hook.sock")
	switch info, err := os.Lstat(socket); {
	case err != nil && phase(h.phase.Load()) == stopping:
		return nil // it goes after the last push
	case err != nil:
		return fmt.Errorf("hooks cannot reach the server: %w; start refship again", err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("hooks cannot reach the server: %s is no socket; start refship again", socket)
	}
	return nil
}

func (h *health) checkEtcd() error {
	_, err := h.answers.get()
	return err
}

func (h *health) askEtcd(ctx context.Context) (struct{}, error) {
	err := etcd.Ping(ctx, h.client)
	if errors.Is(err, etcd.ErrDenied) {
		err = fmt.Errorf("%w; %s", err, remedyOf(err))
	}
	return struct{}{}, err
}

// errUnknown is what the other checks of etcd say while the check etcd fails, which says why.
var errUnknown = errors.New("unknown while etcd fails")

func (h *health) checkSpace() error {
	space, err := h.space.get()
	free := space.Quota - space.Used
	switch {
	case errors.Is(err, etcd.ErrUnreachable):
		return errUnknown
	case err != nil:
		return err
	case space.NoSpace:
		return errors.New("etcd's alarm NOSPACE is on: it takes no writes; free space (compact, defragment) and disarm the alarm")
	case space.Quota > 0 && free < leastQuota:
		return fmt.Errorf("%s of etcd's quota of %s are free; free space (compact, defragment) or raise the quota",
			text.Size(max(free, 0)), text.Size(space.Quota))
	}
	return nil
}

func (h *health) checkDisk() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(h.dir.path, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", h.dir.path, err)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize) //nolint:unconvert // other systems have other types there
	if free < leastDisk {
		return fmt.Errorf("%s are free for %s, less than %s", text.Size(free), h.dir.path, text.Size(leastDisk))
	}
	return nil
}

// probe answers for a list of checks in the manner of etcd's and Kubernetes' own endpoints: 200 or 503, and what failed
// and why; with ?verbose what did not, too, and what failed in part.
func probe(name string, checks []check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		failures := make([]error, len(checks))
		var running sync.WaitGroup
		for i, c := range checks {
			running.Go(func() { failures[i] = c.run() })
		}
		running.Wait()
		var report strings.Builder
		failed := false
		for i, c := range checks {
			failed = tellCheck(&report, c.name, failures[i]) || failed
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case failed:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "%s%s check failed\n", report.String(), name)
		case r.URL.Query().Has("verbose"):
			fmt.Fprintf(w, "%s%s check passed\n", report.String(), name)
		default:
			_, _ = io.WriteString(w, "ok\n") // a client that is gone hears nothing
		}
	}
}

// tellCheck writes a check's lines and tells whether it failed.
func tellCheck(report *strings.Builder, name string, err error) (failed bool) {
	var some *partial
	switch {
	case err == nil:
		fmt.Fprintf(report, "[+]%s ok\n", name)
	case errors.As(err, &some):
		for _, line := range some.lines {
			fmt.Fprintf(report, "[!]%s warning: %s\n", name, text.Printable(line))
		}
	default:
		reason := strings.ReplaceAll(err.Error(), "\n", "; ")
		fmt.Fprintf(report, "[-]%s failed: %s\n", name, text.Printable(reason))
		return true
	}
	return false
}
