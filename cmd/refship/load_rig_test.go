package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"refship/deploy/fixture"
)

// loadWorld is a world whose server takes what it can, built without the race detector, and what is measured of it.
type loadWorld struct {
	*world
	http string // URL of the server's monitor
}

// newLoadWorld starts a server that shows its goroutines, and a user who may push anywhere.
func newLoadWorld(t testing.TB) *loadWorld {
	w := &loadWorld{world: newWorld(t)}
	w.env = append(w.env, "REFSHIP_HTTP=127.0.0.1:0", "REFSHIP_HTTP_PROFILES=true",
		"REFSHIP_GIT_MEMORY=12GiB") // for 128 pushes at a time, whatever machine this is: next to nothing of it is used
	w.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.in("crowd"))
	w.must("refship", "key", "add", "crowd", "--key", w.in("crowd.pub"), "--allow", "deploy:*")
	w.serve("")
	match := w.server.wait(httpListening)
	if match == nil {
		t.Fatalf("the server does not say where its monitor is:\n%s", w.server.text())
	}
	w.http = match[1]
	return w
}

// address is where the server listens, HOST:PORT.
func (w *loadWorld) address() string {
	return strings.TrimSuffix(strings.TrimPrefix(w.world.url, "ssh://git@"), "/config")
}

// clientsPerAddress keeps a crowd below the server's limit for each address: it comes from many.
const clientsPerAddress = 50

// host gives the address from which client i of a crowd comes: each is in a network of its own.
func host(i int) string { return fmt.Sprintf("127.1.%d.1", 1+i/clientsPerAddress) }

// client gives the environment of client i of a crowd.
func (w *loadWorld) client(i int) []string {
	return append(slices.Clone(w.env),
		fixture.SSHCommand(w.in("crowd"), "-o BindAddress="+host(i)))
}

// pushed is what became of one `git push`.
type pushed struct {
	told string
	err  error
	took time.Duration
}

// pushTo pushes from a repository to a URL as client i.
func (w *loadWorld) pushTo(ctx context.Context, i int, dir, url, refspec string) pushed {
	start := time.Now()
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "push", "--porcelain", url, refspec)
	cmd.Env = w.client(i)
	cmd.WaitDelay = patience // its ssh has the same pipe, and may outlive it for a while where hundreds run
	out, err := cmd.CombinedOutput()
	return pushed{string(out), err, time.Since(start)}
}

// repositories makes n more repositories as `refship repo create` makes them: of one that it made, which costs less
// than a process each.
func (w *loadWorld) repositories(n int) (names []string) {
	w.Helper()
	w.must("refship", "repo", "create", "pattern")
	pattern := w.in("data/repos/pattern.git")
	config := readFile(w.TB, filepath.Join(pattern, "config"))
	if !strings.Contains(config, "/refship/pattern") {
		w.Fatalf("the repository's config does not name its namespace:\n%s", config)
	}
	for i := range n {
		name := fmt.Sprintf("crowd-%03d", i)
		dir := w.in("data/repos/" + name + ".git")
		err := errors.Join(os.CopyFS(dir, os.DirFS(pattern)),
			os.WriteFile(filepath.Join(dir, "config"),
				[]byte(strings.ReplaceAll(config, "/refship/pattern", "/refship/"+name)), 0o600))
		if err != nil {
			w.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// dial connects to the server from the address of client i.
func (w *loadWorld) dial(i int) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host(i))}, Timeout: patience}
	return dialer.Dial("tcp", w.address())
}

// dialSSH gives a connection of client i that then does nothing by itself.
func (w *loadWorld) dialSSH(i int, auth ssh.AuthMethod) (*ssh.Client, error) {
	conn, err := w.dial(i)
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, w.address(), &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{auth}, Timeout: patience,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the server is ours, on loopback
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// memory is what a process and all of its descendants hold: the sum of their proportional set sizes (Pss in
// /proc/PID/smaps_rollup, proc(5)), in which what several processes share counts once.
func memory(root int) (bytes int64, processes int) {
	pids := descendants(root)
	for _, pid := range pids {
		bytes += pss(pid)
	}
	return bytes, len(pids)
}

var pssLine = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB$`)

// pss is one process's share, in bytes; 0 if it has ended.
func pss(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	match := pssLine.FindSubmatch(text)
	if err != nil || match == nil {
		return 0
	}
	kib, _ := strconv.ParseInt(string(match[1]), 10, 64)
	return kib << 10
}

// descendants gives a process, its children, theirs, and so on.
func descendants(root int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		// The name before is in parentheses and may hold anything: "pid (name) state ppid …".
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// watchMemory samples a server and its children every 50 ms, or as often as it can, until stop, which logs and gives
// the peak.
func (w *loadWorld) watchMemory(during string) (stop func() int64) {
	const every = 50 * time.Millisecond
	pid := w.server.cmd.Process.Pid
	before, _ := memory(pid)
	ctx, cancel := context.WithCancel(w.Context())
	var peak int64
	var processes, samples int
	var sampling sync.WaitGroup
	start := time.Now()
	sampling.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			bytes, n := memory(pid)
			samples++
			peak, processes = max(peak, bytes), max(processes, n)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() int64 {
		cancel()
		sampling.Wait()
		w.Logf("%s: server and children held up to %d MiB in up to %d processes (%d MiB before), %d samples in %s",
			during, peak>>20, processes, before>>20, samples, time.Since(start).Round(time.Millisecond))
		return peak
	}
}

// usage is what a server must not leak.
type usage struct{ goroutines, files, processes int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %d processes", u.goroutines, u.files, u.processes)
}

var goroutineTotal = regexp.MustCompile(`^goroutine profile: total (\d+)`)

// goroutines is the server's profile of them: how many stand where.
func (w *loadWorld) goroutines() ([]byte, error) { return w.monitor("/debug/pprof/goroutine?debug=1") }

// monitor reads a page of the server's monitor.
func (w *loadWorld) monitor(page string) ([]byte, error) {
	resp, err := http.Get(w.http + page)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// connections tells how many connections the server has.
func (w *loadWorld) connections() int {
	w.Helper()
	text, err := w.monitor("/metrics")
	if err != nil {
		w.Fatal(err)
	}
	match := connectionTotal.FindSubmatch(text)
	if match == nil {
		w.Fatalf("no number of connections: %s", text)
	}
	n, err := strconv.Atoi(string(match[1]))
	if err != nil {
		w.Fatal(err)
	}
	return n
}

var connectionTotal = regexp.MustCompile(`(?m)^refship_connections (\d+)$`)

func (w *loadWorld) usage() (usage, error) {
	text, err := w.goroutines()
	if err != nil {
		return usage{}, err
	}
	match := goroutineTotal.FindSubmatch(text)
	if match == nil {
		return usage{}, fmt.Errorf("not a goroutine profile: %s", text)
	}
	pid := w.server.cmd.Process.Pid
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usage{}, err
	}
	goroutines, err := strconv.Atoi(string(match[1]))
	return usage{goroutines, len(files), len(descendants(pid))}, err
}

// mustUse gives what the server uses now.
func (w *loadWorld) mustUse() usage {
	w.Helper()
	u, err := w.usage()
	if err != nil {
		w.Fatal(err)
	}
	return u
}

// settles waits until the server uses no more than before a load, but for a little: etcd's client and the HTTP server
// keep some.
func (w *loadWorld) settles(before usage) {
	w.Helper()
	const little = 10
	deadline := time.After(patience)
	for {
		now := w.mustUse()
		if now.goroutines <= before.goroutines+little && now.files <= before.files+little &&
			now.processes <= before.processes {
			w.Logf("before: %s; after: %s", before, now)
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			profile, _ := w.goroutines() // only to look at
			w.Errorf("the server keeps %s; before the load it had %s\n%s", now, before, profile)
			return
		}
	}
}

// head is the deploy hash of a repository's head.
func (w *loadWorld) head(repo string) string {
	w.Helper()
	line := w.must("refship", "log", "--json", "-n", "1", "--namespace", "/refship/"+repo)
	if line == "" {
		return ""
	}
	return field(w.TB, line, "hash")
}

// quantile gives the value below which a part of the durations lies.
func quantile(all []time.Duration, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))].Round(100 * time.Microsecond)
}
