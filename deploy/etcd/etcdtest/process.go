package etcdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// Program is the etcd that Process runs, as PATH has it: Debian's package etcd-server.
const Program = "etcd"

// readyTime bounds a start: three members of a cluster that elect, on a busy machine.
const readyTime = 60 * time.Second

// Process is a real etcd, a program of its own. It listens on free ports of 127.0.0.1 and dies with the process that
// started it. Its methods may not be called concurrently.
type Process struct {
	Name   string
	Client string // HOST:PORT for clients
	peer   string
	scheme string // of client URLs
	args   []string
	cmd    *exec.Cmd
	said   *output
	ended  chan struct{}
	held   []net.PacketConn // keep the cluster's ports from others, until the garbage collector closes them
}

// Need skips a test where there is no etcd to run; where REFSHIP_REQUIRE_TOOLS says that everything must run, it fails.
func Need(tb testing.TB) {
	tb.Helper()
	if _, err := exec.LookPath(Program); err == nil {
		return
	}
	if os.Getenv("REFSHIP_REQUIRE_TOOLS") != "" {
		tb.Fatal(Program + " is not installed")
	}
	tb.Skip(Program + " is not installed")
}

// StartProcess runs an etcd of one member, with more flags, until the test ends.
func StartProcess(tb testing.TB, flags ...string) *Process {
	tb.Helper()
	return StartCluster(tb, 1, flags...)[0]
}

// StartCluster runs a cluster of n members until the test ends.
func StartCluster(tb testing.TB, n int, flags ...string) []*Process {
	tb.Helper()
	Need(tb)
	members, err := Run(tb.TempDir(), n, flags...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, p := range members {
			p.Kill()
			if tb.Failed() {
				tb.Logf("etcd %s said:\n%s", p.Name, p.Said())
			}
		}
	})
	return members
}

// Run runs a cluster of n members, m1 to mn, whose data lies in dir, and returns when all are ready. With TLS flags for
// clients in flags its client URLs are https. The caller kills them.
func Run(dir string, n int, flags ...string) ([]*Process, error) {
	const tries = 3 // another process may take a port before etcd does
	for try := 1; ; try++ {
		members, err := run(filepath.Join(dir, fmt.Sprint(try)), n, flags)
		if err == nil {
			return members, nil
		}
		taken := false
		for _, p := range members {
			p.Kill()
			taken = taken || strings.Contains(p.Said(), "address already in use")
			err = fmt.Errorf("%w\netcd %s said:\n%s", err, p.Name, p.Said())
		}
		if !taken || try == tries {
			return nil, err
		}
	}
}

func run(dir string, n int, flags []string) ([]*Process, error) {
	addrs, held, err := freeAddrs(2 * n)
	if err != nil {
		return nil, err
	}
	var members []*Process
	var cluster []string
	for i := range n {
		p := &Process{
			Name: fmt.Sprint("m", i+1), Client: addrs[2*i], peer: "http://" + addrs[2*i+1], scheme: "http", held: held,
		}
		for _, flag := range flags {
			if strings.HasPrefix(flag, "--cert-file") {
				p.scheme = "https"
			}
		}
		members = append(members, p)
		cluster = append(cluster, p.Name+"="+p.peer)
	}
	for _, p := range members {
		p.args = append([]string{
			"--name", p.Name, "--data-dir", filepath.Join(dir, p.Name),
			"--listen-client-urls", p.URL(), "--advertise-client-urls", p.URL(),
			"--listen-peer-urls", p.peer, "--initial-advertise-peer-urls", p.peer,
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-token", dir,
		}, flags...)
		if err := p.start(); err != nil {
			return members, err
		}
	}
	for _, p := range members {
		if err := p.ready(); err != nil {
			return members, err
		}
	}
	return members, nil
}

// freeAddrs finds n addresses below the ports that the kernel hands out (Linux: 32768 and up), so that no listener on
// port 0 takes one while its etcd is being restarted. held keeps other callers away, in this process and in others:
// each takes the UDP port of the same number, too, which etcd does not use. Else a server whose etcd is dead could
// publish into the etcd of another test.
func freeAddrs(n int) (addrs []string, held []net.PacketConn, err error) {
	const first, end, tries = 12_000, 32_000, 1000
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(end-first))
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			_ = udp.Close() // nothing was sent
			continue
		}
		defer tcp.Close() // all at the end: etcd wants them
		held = append(held, udp)
		if addrs = append(addrs, addr); len(addrs) == n {
			return addrs, held, nil
		}
	}
	for _, udp := range held {
		_ = udp.Close()
	}
	return nil, nil, errors.New("find free ports: none")
}

// URL is what clients are told: http://HOST:PORT, or https.
func (p *Process) URL() string { return p.scheme + "://" + p.Client }

// URLs are those of all members.
func URLs(members []*Process) []string {
	var urls []string
	for _, p := range members {
		urls = append(urls, p.URL())
	}
	return urls
}

// Said is what this run of the etcd has written.
func (p *Process) Said() string { return p.said.String() }

func (p *Process) start() error {
	p.said = &output{changed: make(chan struct{})}
	p.cmd = exec.Command(Program, p.args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if runtime.GOARCH != "amd64" {
		p.cmd.Env = append(p.cmd.Env, "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH) // 3.4 asks for it
	}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start etcd %s: %w", p.Name, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(ended)
	}()
	return nil
}

// ready waits until etcd says that it serves: it has a leader then.
func (p *Process) ready() error {
	deadline := time.After(readyTime)
	for {
		text, changed := p.said.look()
		if strings.Contains(text, "ready to serve client requests") {
			return nil
		}
		select {
		case <-changed:
		case <-p.ended:
			return fmt.Errorf("start etcd %s: it has ended", p.Name)
		case <-deadline:
			return fmt.Errorf("start etcd %s: not ready after %s", p.Name, readyTime)
		}
	}
}

// Kill ends it as a power cut would. Nothing happens if it has ended.
func (p *Process) Kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// Restart starts it again, after Kill or in place of it, where it was and with its data, and waits until it is ready,
// which needs most of its cluster's members.
func (p *Process) Restart() error {
	p.Kill()
	if err := p.start(); err != nil {
		return err
	}
	return p.ready()
}

// Pause makes it stand still, with its connections, from when it returns on.
func (p *Process) Pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause etcd %s: %w", p.Name, err)
	}
	if err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WSTOPPED, nil); err != nil {
		return fmt.Errorf("pause etcd %s: %w", p.Name, err)
	}
	return nil
}

// Resume ends a Pause.
func (p *Process) Resume() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume etcd %s: %w", p.Name, err)
	}
	return nil
}

// Leader finds the member that leads.
func Leader(ctx context.Context, client *clientv3.Client, members []*Process) (*Process, error) {
	for _, p := range members {
		status, err := client.Status(ctx, p.URL())
		if err == nil && status.Leader == status.Header.MemberId {
			return p, nil
		}
	}
	return nil, errors.New("find leader: no member says that it leads")
}

// output is what an etcd writes, for those who wait for a word.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at every write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) look() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

func (o *output) String() string {
	text, _ := o.look()
	return text
}
