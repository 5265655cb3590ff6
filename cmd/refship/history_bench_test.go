package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// BenchmarkHistory measures what a person waits for with 10,000 signed deploys of 20 directories: until a screen of log
// is there, and until log --path has looked at all of them.
func BenchmarkHistory(b *testing.B) {
	const deploys = 10_000
	e := fixture.StartEtcd(b, embedded.Config{Listen: "127.0.0.1:0"})
	putHistory(b, e, deploys)
	log := func(lines int, args ...string) time.Duration {
		args = append([]string{"log", "--endpoints", "http://" + e.Addr(), "--namespace", "/refship/site"}, args...)
		cmd := exec.Command("refship", args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		said := bufio.NewReader(out)
		for i := range lines {
			if _, err := said.ReadString('\n'); err != nil {
				b.Fatalf("after %d lines: %v", i, err)
			}
		}
		took := time.Since(start)
		rest, err := io.Copy(io.Discard, said)
		if err := errors.Join(err, cmd.Wait()); err != nil || rest > 0 {
			b.Fatalf("%d bytes more, %v", rest, err)
		}
		return took
	}
	for name, run := range map[string]func() time.Duration{
		"screen":       func() time.Duration { return firstScreen(b, e) },
		"all":          func() time.Duration { return log(deploys) },
		"path":         func() time.Duration { return log(deploys/20+1, "--path", "dir3/file") },
		"path-commits": func() time.Duration { return log(2*deploys/20+2, "--path", "dir3/file", "--commits") },
		"contains":     func() time.Duration { return log(1, "--contains", benchCommit(1).String()) },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				took = append(took, run())
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// firstScreen is how long it takes until a terminal of 50 lines is full.
func firstScreen(b *testing.B, e *embedded.Etcd) time.Duration {
	const lines = 50
	control, terminal := openTerminal(b, lines)
	defer control.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "refship", "log", "--endpoints", "http://"+e.Addr(), "--namespace", "/refship/site",
		"--no-pager")
	cmd.Stdout = terminal
	start := time.Now()
	err := cmd.Start()
	terminal.Close()
	if err != nil {
		b.Fatal(err)
	}
	said := bufio.NewReader(control)
	for range lines {
		if _, err := said.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(start)
	cancel()
	_ = cmd.Wait() // it was killed
	return took
}

// openTerminal makes a terminal of some lines (pty(7)).
func openTerminal(b *testing.B, lines uint16) (control, terminal *os.File) {
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.Skip(err)
	}
	fd := int(control.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: lines, Col: 100})); err != nil {
		b.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.Fatal(err)
	}
	return control, terminal
}

func rawCommit(i int) []byte {
	parent := ""
	if i > 1 {
		parent = "parent " + benchCommit(i-1).String() + "\n"
	}
	return fmt.Appendf(nil, "tree %040d\n%sauthor A <a@b> %d +0000\n\nnumber %d\n", i, parent, i, i)
}

var benchOIDs = map[int]tree.OID{}

func benchCommit(i int) tree.OID {
	if _, ok := benchOIDs[i]; !ok {
		benchOIDs[i] = tree.HashObject(tree.FormatSHA1, "commit", rawCommit(i))
	}
	return benchOIDs[i]
}

// putHistory puts deploys straight into an etcd. Each changes the file of one of 20 directories, in turns.
func putHistory(b *testing.B, e *embedded.Etcd, deploys int) {
	const dirs = 20
	chain, signer := store.New(nil, "/refship/site"), fixture.Signer(1)
	var ops []clientv3.Op
	flush := func() {
		if _, err := e.Client().Txn(b.Context()).Then(ops...).Commit(); err != nil {
			b.Fatal(err)
		}
		ops = nil
	}
	put := func(key, value string) {
		if ops = append(ops, clientv3.OpPut(key, value)); len(ops) == store.MaxQueries {
			flush()
		}
	}
	node := func(n *tree.Node) tree.Entry {
		nodes := chain.NewNodes()
		nodes.Add(n.OID(tree.FormatSHA1), n, n.Text())
		put(chain.TreeKey(n.OID(tree.FormatSHA1)), string(n.Text()))
		return nodes.Entry(n.OID(tree.FormatSHA1))
	}
	root, below, previous := new(tree.Node), record.Ref{}, record.Hash("")
	for i := range dirs {
		root.Entries = append(root.Entries, tree.Entry{Name: fmt.Sprintf("dir%d", i), Mode: filemode.Dir})
	}
	slices.SortFunc(root.Entries, func(a, b tree.Entry) int { return strings.Compare(a.Name+"/", b.Name+"/") })
	content := func(i int) *tree.Node {
		sum := tree.NewContentHash(tree.FormatSHA1, 8)
		fmt.Fprintf(sum, "%08d", i)
		return &tree.Node{Entries: []tree.Entry{
			{Name: "file", Mode: filemode.Regular, OID: sum.OID(), Size: 8, SHA256: sum.SHA256()}}}
	}
	for i := range root.Entries {
		first := node(content(-i))
		first.Name = root.Entries[i].Name
		root.Entries[i] = first
	}
	for id := 1; id <= deploys; id++ {
		at := slices.IndexFunc(root.Entries, func(e tree.Entry) bool { return e.Name == fmt.Sprintf("dir%d", id%dirs) })
		changed := node(content(id))
		changed.Name = root.Entries[at].Name
		root.Entries[at] = changed
		top := node(root)
		r := &record.Record{
			Format: record.Format, Namespace: chain.Namespace(), Chain: "00112233445566778899aabbccddeeff", ID: record.ID(id),
			Kind: record.KindPush, Hash: record.CommitHash(benchCommit(id)), Tree: top.OID, TreeSHA256: top.SHA256,
			TreeSize: top.Size, Files: dirs, Frontend: record.Files, PreviousRecord: below, PreviousHash: previous,
			Undone: []record.Undone{}, Commits: 1, Subject: fmt.Sprint("number ", id), Pusher: record.Pusher{Name: "ops"},
			Signer: ssh.FingerprintSHA256(signer.PublicKey()), Time: time.Unix(1_700_000_000+int64(id), 0).UTC(),
		}
		d, err := record.NewDeploy(r, signer)
		if err != nil {
			b.Fatal(err)
		}
		put(chain.DeployKey(d.ID, record.KeyHash), string(d.Hash))
		put(chain.DeployKey(d.ID, record.KeyRecord), string(d.RecordBytes))
		put(chain.DeployKey(d.ID, record.KeySignature), string(d.Signature))
		raw := rawCommit(id)
		put(chain.ObjectKey(benchCommit(id)), fmt.Sprintf("commit %d\x00%s", len(raw), raw))
		below, previous = record.Ref{ID: d.ID, SHA256: record.Sum(d.RecordBytes)}, d.Hash
	}
	put(chain.Key("head"), fmt.Sprint(deploys))
	flush()
}
