package gitserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gogit "github.com/go-git/go-git/v5"
	gogitconfig "github.com/go-git/go-git/v5/config"
	gogitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"refship/deploy/git"
	"refship/hooks/target"
)

// holdOnce puts a chain on hold when the next push has been accepted, and gives what ends it.
func (e *env) holdOnce(chain string) (end func()) {
	hold := string(e.namespace(chain)) + "/refship/hold"
	e.log.When("post-receive-start", func() {
		if _, err := store.Client().Put(context.Background(), hold, "maintenance"); err != nil {
			e.t.Error(err)
		}
	})
	return func() {
		e.t.Helper()
		if _, err := store.Client().Delete(context.Background(), hold); err != nil {
			e.t.Fatal(err)
		}
	}
}

// TestUndeployedReport: a push whose deploy failed fails for git, with --atomic, too, where git goes by the report
// alone; the refs whose deploys went well are well.
func TestUndeployedReport(t *testing.T) {
	for _, args := range [][]string{
		{"push"}, {"push", "--atomic"}, {"-c", "protocol.version=0", "push"},
		{"-c", "protocol.version=1", "push", "--atomic"},
	} {
		e := start(t)
		side := target.Target{Name: "side", Ref: "refs/heads/side", Namespace: e.namespace("side"), Frontend: "files"}
		if _, err := e.repos.Create(t.Context(), "config", git.FormatSHA1, "refs/heads/main", []target.Target{e.target("config"),
			side}); err != nil {
			t.Fatal(err)
		}
		laptop, work := e.user("laptop", "deploy:config"), e.work()
		e.mustGit(nil, work, "branch", "plain")
		e.mustGit(nil, work, "branch", "side")
		e.holdOnce("side")
		r := e.git(laptop, work, append(args, "--porcelain", e.url("config"), "main", "plain", "side")...)
		r.want(t, 1)
		for _, want := range []string{
			"*\trefs/heads/main:refs/heads/main\t[new branch]", "*\trefs/heads/plain:refs/heads/plain\t[new branch]",
			"!\trefs/heads/side:refs/heads/side\t[remote rejected] (",
		} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("git %v: stdout has no %q:\n%s", args, want, r.stdout)
			}
		}
		if e.head("config") == nil || e.head("side") != nil {
			t.Errorf("git %v: heads are %+v and %+v", args, e.head("config"), e.head("side"))
		}
	}
}

// TestReportOfGoGit: a client that is built on a library fails, too, and says why.
func TestReportOfGoGit(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop, work := e.user("laptop", "deploy:config"), e.work()
	e.mustGit(nil, work, "remote", "add", "origin", e.url("config"))
	client, err := gogit.PlainOpen(work)
	if err != nil {
		t.Fatal(err)
	}
	push := func(options map[string]string) error {
		auth := &gogitssh.PublicKeys{User: "git", Signer: laptop.signer}
		auth.HostKeyCallback = ssh.FixedHostKey(e.hostKey.PublicKey())
		return client.Push(&gogit.PushOptions{
			Auth: auth, RefSpecs: []gogitconfig.RefSpec{"refs/heads/main:refs/heads/main"}, Options: options,
		})
	}
	if err := push(map[string]string{"deploy.dry-run": ""}); err == nil || e.result() != "dry-run" {
		t.Errorf("the dry run ended with %v, and is %q", err, e.result())
	}
	end := e.holdOnce("config")
	if err := push(nil); err == nil || e.result() != "not deployed" {
		t.Errorf("the push ended with %v, and is %q", err, e.result())
	}
	commit := e.mustGit(nil, work, "rev-parse", "HEAD")
	if at, err := git.ReadRef(t.Context(), repo.Dir, "refs/heads/main"); err != nil || at.String() != commit {
		t.Errorf("the ref is at %s, %v", at, err)
	}
	end()
	e.commit(work, "file", "two\n")
	if err := push(nil); err != nil {
		t.Error(err)
	}
	if d := e.head("config"); d == nil || string(d.Hash) != e.mustGit(nil, work, "rev-parse", "HEAD") {
		t.Errorf("head is %+v", d)
	}
	auth := &gogitssh.PublicKeys{User: "git", Signer: laptop.signer}
	auth.HostKeyCallback = ssh.FixedHostKey(e.hostKey.PublicKey())
	clone, err := gogit.PlainClone(t.TempDir(), false, &gogit.CloneOptions{URL: e.url("config"), Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	if head, err := clone.Head(); err != nil || head.Hash().String() != e.mustGit(nil, work, "rev-parse", "HEAD") {
		t.Errorf("the clone is at %v, %v", head, err)
	}
	e.commit(work, "file", "three\n")
	if err := push(map[string]string{"deploy.unknown": "x"}); err == nil || e.result() != "refused" {
		t.Errorf("the push ended with %v, and is %q", err, e.result())
	}
}

// rawPush is a push that a test speaks by itself.
type rawPush struct {
	t      *testing.T
	s      *ssh.Session
	in     io.WriteCloser
	out    *bufio.Reader
	commit string
}

// rawPush makes a session that has read the advertisement.
func (e *env) rawPush(u *user) *rawPush {
	e.t.Helper()
	s, err := e.dial(u).NewSession()
	if err != nil {
		e.t.Fatal(err)
	}
	p := &rawPush{t: e.t.(*testing.T), s: s}
	if p.in, err = s.StdinPipe(); err != nil {
		e.t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := s.Start("git-receive-pack '/config'"); err != nil {
		e.t.Fatal(err)
	}
	for p.packet() != "" {
	}
	return p
}

// send pushes the work's commit to a new main.
func (p *rawPush) send(e *env, work, capabilities string) {
	p.t.Helper()
	p.commit = e.mustGit(nil, work, "rev-parse", "HEAD")
	cmd := e.gitCommand(nil, work, "pack-objects", "--revs", "--stdout", "-q")
	cmd.Stdin = strings.NewReader(p.commit + "\n")
	pack := e.run(cmd)
	update := pktLine(strings.Repeat("0", 40) + " " + p.commit + " refs/heads/main\x00" + capabilities)
	if _, err := io.WriteString(p.in, update+"0000"+pack.stdout); err != nil {
		p.t.Fatal(err)
	}
}

// packet reads a pkt-line, "" for a flush.
func (p *rawPush) packet() string {
	p.t.Helper()
	var length int
	head := make([]byte, 4)
	if _, err := io.ReadFull(p.out, head); err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(head), "%04x", &length); err != nil {
		p.t.Fatal(err)
	}
	if length == 0 {
		return ""
	}
	content := make([]byte, length-4)
	if _, err := io.ReadFull(p.out, content); err != nil {
		p.t.Fatal(err)
	}
	return string(content)
}

// TestReportWithoutBands: a client that has no bands reads the report at the end, and the truth.
func TestReportWithoutBands(t *testing.T) {
	e := start(t)
	e.repo("config")
	p := e.rawPush(e.user("laptop", "deploy:config"))
	e.holdOnce("config")
	p.send(e, e.work(), "report-status")
	if said := p.packet(); said != "unpack ok\n" {
		t.Errorf("got %q", said)
	}
	if said := p.packet(); !strings.HasPrefix(said, "ng refs/heads/main ") {
		t.Errorf("got %q", said)
	}
	if said := p.packet(); said != "" {
		t.Errorf("got %q", said)
	}
	if rest, err := io.ReadAll(p.out); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v", rest, err)
	}
}

// TestReportWaits: while a deploy takes its time, what keeps the connection alive comes, and no report.
func TestReportWaits(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	e.mustGit(nil, e.dir, "--git-dir", repo.Dir, "config", "receive.keepAlive", "1") // s
	p := e.rawPush(e.user("laptop", "deploy:config"))
	reached, release := e.halt("post-receive-start")
	p.send(e, e.work(), "report-status side-band-64k")
	<-reached
	for {
		said := p.packet()
		if said == "\x01" {
			break
		}
		if !strings.HasPrefix(said, "\x02") {
			t.Fatalf("got %q before the deploy", said)
		}
	}
	release()
	last := ""
	for said := p.packet(); said != ""; said = p.packet() {
		last = said
	}
	if want := "\x01000eunpack ok\n0017ok refs/heads/main\n0000"; last != want {
		t.Errorf("the report is %q, want %q", last, want)
	}
	if d := e.head("config"); d == nil || string(d.Hash) != p.commit {
		t.Errorf("head is %+v", d)
	}
}

// TestReportToNobody: the deploy of a client that hangs up while its report waits is made.
func TestReportToNobody(t *testing.T) {
	e := start(t)
	e.repo("config")
	p := e.rawPush(e.user("laptop", "deploy:config"))
	reached, release := e.halt("post-receive-start")
	p.send(e, e.work(), "report-status side-band-64k")
	<-reached
	if err := p.s.Close(); err != nil {
		t.Fatal(err)
	}
	release()
	e.stop() // waits for the push
	if d := e.head("config"); d == nil || string(d.Hash) != p.commit || e.result() != "deployed" {
		t.Errorf("head is %+v, the push is %v", d, e.result())
	}
}

// TestReportWithoutHooks: where the hooks are gone, what git stored unasked is not called well.
func TestReportWithoutHooks(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop, work := e.user("laptop", "deploy:config"), e.work()
	p := e.rawPush(laptop)
	for _, hook := range []string{"pre-receive", "post-receive"} {
		if err := os.Remove(filepath.Join(e.srv.hooksPath, hook)); err != nil {
			t.Fatal(err)
		}
	}
	p.send(e, work, "report-status")
	if said := p.packet() + p.packet(); !strings.HasPrefix(said, "unpack ok\nng refs/heads/main ") {
		t.Errorf("got %q", said)
	}
}

// TestRetry: who pushes again after "pushed, not deployed" finds nothing to push, and reads whether it is deployed now.
func TestRetry(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop, ops, pusher := e.user("laptop", "deploy:config"), e.user("ops", "deploy:*"), e.user("pusher", "push:config")
	work := e.work()
	commit := e.mustGit(nil, work, "rev-parse", "HEAD")
	push := func(u *user, args ...string) result {
		t.Helper()
		return e.git(u, work, append(append([]string{"push"}, args...), e.url("config"), "main")...)
	}
	end := e.holdOnce("config")
	if push(laptop, "--atomic").want(t, 1); e.result() != "not deployed" {
		t.Errorf("the push is %q", e.result())
	}
	for _, args := range [][]string{{}, {"--atomic"}} {
		r := push(laptop, args...)
		status := 1
		if len(args) > 0 { // with --atomic git looks at no exit status, and of nothing pushed there is no report
			status = r.status
		}
		r.want(t, status)
		if line := e.last("deploy"); line["result"] != "refused" || line["user"] != "laptop" {
			t.Errorf("log line is %v", line)
		}
	}
	push(pusher).want(t, 0)
	push(pusher).without(t, "refship")
	if e.head("config") != nil {
		t.Errorf("head is %+v", e.head("config"))
	}
	end()
	push(ops).want(t, 0)
	if d := e.head("config"); d == nil || string(d.Hash) != commit || d.Record.Pusher.Name != "laptop" {
		t.Errorf("head is %+v", d)
	}
	last := len(e.log.About("deploy"))
	r := push(laptop)
	r.want(t, 0)
	r.without(t, "refship")
	if n := len(e.log.About("deploy")); n != last {
		t.Errorf("the log has %d more lines", n-last)
	}
}
