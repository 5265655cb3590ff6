package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
)

// What the server takes under hostile loads, and what a pusher with another key notices meanwhile. Times depend on the
// machine, so they are told as ratios within one run:
//
//	make torture

// hostile is a load of somebody who has the key crowd, or none.
type hostile struct {
	name string
	most int64 // that the server itself may have taken from its start on, in MiB: some twice what was measured
	// prepare gives the load's senders. Each is called again and again until ctx ends, and gives what became of what it
	// sent.
	prepare func(w *loadWorld) []sender
	// wants are results, without each of which nothing was shown.
	wants []string
}

type sender func(ctx context.Context) (result string, err error)

var hostiles = []hostile{
	{"delta-bombs", 128, deltaBombs, []string{"stored", "refused"}},
	{"tree-bombs", 768, treeBombs, []string{"refused"}},
	{"64-pushes", 256, crowdOfDeploys, []string{"deployed"}},
	{"silent", 256, silentConnections, []string{"connections"}},
	{"slow-handshakes", 256, slowHandshakes, []string{"version", "keys", "login"}},
	{"50000-refs-pushed", 256, manyRefsPushed, []string{"refused"}},
	{"50000-refs-held", 256, manyRefsHeld, []string{"read", "pushed"}},
}

func BenchmarkBeside(b *testing.B) {
	for _, h := range hostiles {
		b.Run(h.name, func(b *testing.B) {
			w := newLoadWorld(b)
			w.commit("first", 3)
			if err := w.push(); err != nil {
				b.Fatal(err)
			}
			senders := h.prepare(w)
			for b.Loop() {
				w.beside(b, h, senders)
			}
		})
	}
}

// How often is pushed alone and beside a load, and for how long beside it: at least, so that the load gets somewhere,
// and, though there were not so many pushes yet, at most.
const (
	besidePushes = 15
	besideLeast  = 15 * time.Second
	besideMost   = 40 * time.Second
)

// beside reports how many times as long a push takes beside a load as alone, by the medians.
func (w *loadWorld) beside(b *testing.B, h hostile, senders []sender) {
	pushes := func(least time.Duration) time.Duration {
		var took []time.Duration
		for began := time.Now(); time.Since(began) < least ||
			len(took) < besidePushes && time.Since(began) < besideMost; {
			took = append(took, w.pushTimes(1)...)
		}
		b.Logf("%d pushes, at most %s", len(took), quantile(took, 1))
		return quantile(took, 0.5)
	}
	alone := pushes(0)
	stop := w.watchMemory(h.name)
	end := w.send(b, senders)
	meanwhile := pushes(besideLeast)
	results := end()
	all := stop()
	server := fixture.PeakMemory(b, w.server.cmd.Process.Pid)
	for result, n := range results {
		b.ReportMetric(float64(n), result)
	}
	for _, want := range h.wants {
		if results[want] == 0 {
			b.Errorf("nothing was shown: the load has no result %q, it has %v", want, results)
		}
	}
	if server > h.most<<20 {
		b.Errorf("the server took %d MiB, want at most %d MiB", server>>20, h.most)
	}
	b.ReportMetric(float64(alone.Milliseconds()), "ms-alone")
	b.ReportMetric(meanwhile.Seconds()/alone.Seconds(), "times-alone")
	b.ReportMetric(float64(server>>20), "MiB-server")
	b.ReportMetric(float64(all>>20), "MiB-all")
	b.ReportMetric(0, "ns/op") // of all of it: says nothing
}

// send starts the senders and returns when there is a first result; end stops them and counts the results.
func (w *loadWorld) send(b *testing.B, senders []sender) (end func() map[string]int) {
	ctx, cancel := context.WithCancel(w.Context())
	first := make(chan struct{})
	results := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, s := range senders {
		all.Go(func() {
			for ctx.Err() == nil {
				result, err := s(ctx)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				if results[result]++; len(results) == 1 && results[result] == 1 {
					close(first)
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-first:
	case <-time.After(2 * patience):
		b.Error("the load has no result")
	}
	return func() map[string]int {
		cancel()
		all.Wait()
		return results
	}
}

// asCrowd runs a command on the server over a connection of its own, as client i with the key crowd, until ctx ends.
func (w *loadWorld) asCrowd(
	ctx context.Context, i int, command string, input []byte,
) (told string, status int, err error) {
	key, err := ssh.ParsePrivateKey([]byte(readFile(w.TB, w.in("crowd"))))
	if err != nil {
		return "", 0, err
	}
	c, err := w.dialSSH(i, ssh.PublicKeys(key))
	if err != nil {
		return "", 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	s, err := c.NewSession()
	if err != nil {
		return "", 0, err
	}
	var stdout, stderr bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = bytes.NewReader(input), &stdout, &stderr
	err = s.Run(command)
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		status, err = exit.ExitStatus(), nil
	}
	return stdout.String() + stderr.String(), status, err
}

// pusher sends the same input to a repository again and again. Results are named by what the server says of them.
func (w *loadWorld) pusher(i int, repo string, input func(n int) []byte, results map[string]string) sender {
	n := 0
	return func(ctx context.Context) (string, error) {
		n++
		told, status, err := w.asCrowd(ctx, i, "git-receive-pack '/"+repo+"'", input(n))
		if err != nil {
			return "", err
		}
		for says, result := range results {
			if strings.Contains(told, says) {
				return result, nil
			}
		}
		return "", fmt.Errorf("a hostile push to %s ended with %d: %s", repo, status, told)
	}
}

// deltaBombs are small packs for which git needs 1,000 MiB, which is stored, and 2,000 MiB, which is refused.
func deltaBombs(w *loadWorld) (all []sender) {
	bomb, commit := fixture.DeltaBomb(1000)
	tooLarge, other := fixture.DeltaBomb(2000)
	for i, repo := range w.repositories(5) {
		all = append(all, w.pusher(i, repo, func(n int) []byte {
			if n%2 == 0 {
				return fixture.PushOf(tooLarge, other, "refs/heads/too-large")
			}
			return fixture.PushOf(bomb, commit, fmt.Sprint("refs/heads/b", n))
		}, map[string]string{"unpack ok": "stored", "is too large": "refused", "try again later": "waited"}))
	}
	return all
}

// treeBombs are small packs with trees that name millions of files.
func treeBombs(w *loadWorld) (all []sender) {
	var packs [][]byte
	var commits []string
	for _, tree := range w.treeBombs() {
		commit := w.must("git", "-C", w.in("work"), "commit-tree", "-m", "bomb", tree.oid)
		commits, packs = append(commits, commit), append(packs, w.pack(commit))
	}
	for i, repo := range w.repositories(4 * len(packs)) {
		k := i % len(packs)
		all = append(all, w.pusher(i, repo, func(int) []byte {
			return fixture.PushOf(packs[k], commits[k], "refs/heads/main")
		}, map[string]string{"refship: refused: ": "refused", "bytes (limit ": "refused", "try again later": "waited"}))
	}
	return all
}

// pack is all that a commit needs.
func (w *loadWorld) pack(commit string) []byte {
	w.Helper()
	cmd := exec.Command("git", "-C", w.in("work"), "pack-objects", "--quiet", "--revs", "--stdout")
	cmd.Env, cmd.Stdin = w.env, strings.NewReader(commit+"\n")
	out, err := cmd.Output()
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// besideSenders is how many turns a key has that wants all.
const besideSenders = 64

// crowdOfDeploys deploy to 64 repositories at once, one commit after the other.
func crowdOfDeploys(w *loadWorld) (all []sender) {
	for i, repo := range w.repositories(besideSenders) {
		tip := zeroOID
		all = append(all, w.pusher(i, repo, func(n int) []byte {
			pack, commit := oneFile(fmt.Sprintf("%d of %s\n", n, repo), tip)
			update := tip + " " + commit + " refs/heads/main"
			tip = commit
			return pushOf(pack, update)
		}, map[string]string{"published in ": "deployed"}))
	}
	return all
}

// oneFile is a commit of one file, on top of another one unless that is zero.
func oneFile(content, parent string) (pack []byte, commit string) {
	var p fixture.Pack
	tree := p.Tree("100644 file\x00" + string(rawOID(p.Blob(content))))
	const who = "a <a@example.org> 1700000000 +0000\n"
	text := "tree " + tree + "\n"
	if strings.Trim(parent, "0") != "" {
		text += "parent " + parent + "\n"
	}
	commit = p.Commit(text + "author " + who + "committer " + who + "\nchange\n")
	return p.Bytes(), commit
}

// hostileHost is where connection i comes from that nobody knows: 20 addresses of a network.
func hostileHost(i int) net.IP { return net.IPv4(127, 2, 0, byte(1+i%20)) }

// silentConnections are 2,000 connections that say nothing, made anew each second.
func silentConnections(w *loadWorld) []sender {
	return []sender{func(ctx context.Context) (string, error) {
		conns, err := fixture.Silent(w.address(), 2000, hostileHost)
		pause(ctx, time.Second)
		for _, c := range conns {
			_ = c.Close()
		}
		return "connections", err
	}}
}

// pause is the pace of a load.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// slowHandshakes are 900 connections, made anew at most once a second each, that send their version a byte a second,
// stop when keys are to be exchanged, or agree on keys and never log in.
func slowHandshakes(w *loadWorld) (all []sender) {
	speak := []func(ctx context.Context, c net.Conn) string{
		func(ctx context.Context, c net.Conn) string {
			for ctx.Err() == nil {
				if _, err := io.WriteString(c, "S"); err != nil {
					break
				}
				pause(ctx, time.Second)
			}
			return "version"
		},
		func(_ context.Context, c net.Conn) string {
			_, _ = io.WriteString(c, "SSH-2.0-slow\r\n") // dropped
			_, _ = io.Copy(io.Discard, c)
			return "keys"
		},
		func(ctx context.Context, c net.Conn) string {
			_, _, _, _ = ssh.NewClientConn(c, w.address(), &ssh.ClientConfig{
				User: "git", HostKeyCallback: ssh.InsecureIgnoreHostKey(),
				Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
					_, _ = io.Copy(io.Discard, c) // until it is dropped
					return nil, ctx.Err()
				})},
			})
			return "login"
		},
	}
	for i := range 900 {
		all = append(all, func(ctx context.Context) (string, error) {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: hostileHost(i / len(speak))}, Timeout: patience}
			c, err := dialer.DialContext(ctx, "tcp", w.address())
			if err != nil {
				return "", err
			}
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			result := speak[i%len(speak)](ctx, c)
			pause(ctx, time.Second)
			return result, nil
		})
	}
	return all
}

// pushOf is what a client sends to git receive-pack for some ref updates.
func pushOf(pack []byte, updates ...string) []byte {
	var b bytes.Buffer
	for i, u := range updates {
		if i == 0 {
			u += "\x00report-status"
		}
		b.WriteString(fixture.PktLine(u))
	}
	return append(append(b.Bytes(), "0000"...), pack...)
}

const zeroOID = "0000000000000000000000000000000000000000"

// newRefs are ref updates that create n refs.
func newRefs(commit string, from, n int) (updates []string) {
	for i := range n {
		updates = append(updates, fmt.Sprintf("%s %s refs/heads/r/%06d", zeroOID, commit, from+i))
	}
	return updates
}

const hostileRefs = 50_000

// manyRefsPushed creates 50,000 refs with one push, which is refused, and as many as one push may have.
func manyRefsPushed(w *loadWorld) (all []sender) {
	pack, commit := oneFile("refs\n", zeroOID)
	for i, repo := range w.repositories(4) {
		all = append(all, w.pusher(i, repo, func(n int) []byte {
			if n%2 == 1 {
				return pushOf(pack, newRefs(commit, 0, hostileRefs)...)
			}
			return pushOf(pack, newRefs(commit, n*10_000, 10_000)...)
		}, map[string]string{"updates more than": "refused", "unpack ok": "stored"}))
	}
	return all
}

// manyRefsHeld reads from and pushes to a repository with 50,000 refs.
func manyRefsHeld(w *loadWorld) (all []sender) {
	repo := w.repositories(1)[0]
	pack, commit := oneFile("refs\n", zeroOID)
	if result, err := w.pusher(0, repo, func(int) []byte {
		return fixture.PushOf(pack, commit, "refs/heads/first")
	}, map[string]string{"unpack ok": "stored"})(w.Context()); result != "stored" {
		w.Fatal(err)
	}
	update := exec.Command("git", "-C", w.in("data/repos/"+repo+".git"), "-c", "core.fsync=none",
		"update-ref", "--stdin")
	update.Env = w.env
	var refs bytes.Buffer
	for i := range hostileRefs {
		fmt.Fprintf(&refs, "create refs/heads/r/%06d %s\n", i, commit)
	}
	update.Stdin = &refs
	if out, err := update.CombinedOutput(); err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	for i := range 8 {
		all = append(all, func(ctx context.Context) (string, error) {
			told, _, err := w.asCrowd(ctx, i, "git-upload-pack '/"+repo+"'", []byte("0000"))
			if err == nil && strings.Count(told, "refs/heads/r/") != hostileRefs {
				err = fmt.Errorf("a client sees %d refs", strings.Count(told, "refs/heads/r/"))
			}
			return "read", err
		}, w.pusher(i, repo, func(n int) []byte {
			return fixture.PushOf(pack, commit, fmt.Sprintf("refs/heads/p/%d-%d", i, n))
		}, map[string]string{"unpack ok": "pushed"}))
	}
	return all
}
