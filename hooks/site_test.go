package hooks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks"
	"refship/hooks/report"
	"refship/hooks/target"
	"refship/keys"
)

// site is a hook server with a real etcd, one served repository "config", and a work tree to push from.
type site struct {
	testing.TB
	client  *clientv3.Client
	faults  *faultKV // client's
	store   *deploy.Store
	server  *hooks.Server
	journal *fixture.Journal
	reports told[report.Report]
	steps   told[report.Step]
	told    func() // is called when something was published; nil: nothing is
	dir     string // short, for the socket
	bare    string
	work    string
	stop    context.CancelFunc // ends the server; wait waits for its end
	wait    func()
}

var defaultTarget = target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/config",
	Frontend: record.Files}

func newSite(t testing.TB, targets ...target.Target) *site {
	t.Helper()
	return newSiteOn(t, fixture.NewEtcd(t).Client(), targets...)
}

// newSiteOn is newSite with an etcd of the caller's.
func newSiteOn(t testing.TB, client *clientv3.Client, targets ...target.Target) *site {
	t.Helper()
	dir := fixture.ShortDir(t)
	s := &site{
		TB: t, client: client, journal: fixture.NewJournal(t), dir: dir,
		bare: filepath.Join(dir, "config.git"), work: filepath.Join(dir, "work"),
	}
	s.faults = newFaultKV(s.client.KV)
	s.client.KV = s.faults
	room := new(disk.Room)
	s.store = deploy.NewStore(s.client, deploy.Config{
		LeaseTTL: time.Minute, Log: slog.New(s.journal), EtcdDir: dir, Room: room,
	})
	t.Cleanup(func() {
		var full *disk.FullError
		if err := room.Share(filepath.Dir(dir)).Take(1 << 60); !errors.As(err, &full) || full.Taken != 0 {
			t.Errorf("at the end room is still taken: %v", err)
		}
		if err := s.store.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	s.git(dir, "init", "-q", "--bare", "--template=", "-b", "main", s.bare)
	s.git(dir, "init", "-q", "--template=", "-b", "main", s.work)
	for _, one := range targets {
		if err := target.AddTarget(t.Context(), s.bare, one); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	return s
}

func (s *site) config() hooks.Config {
	return hooks.Config{
		Store:      s.store,
		Remedy:     fixture.Advice,
		Signer:     fixture.Signer(1),
		Host:       "ship.example.org",
		Dir:        filepath.Join(s.dir, "run"),
		HookBinary: hookBinary,
		Observe:    s.reports.add,
		Step:       s.steps.add,
		Published: func() {
			if s.told != nil {
				s.told()
			}
		},
		Log: slog.New(s.journal),
	}
}

func (s *site) start() {
	server, err := hooks.NewServer(s.config())
	if err != nil {
		s.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := server.Run(ctx); err != nil {
			s.Errorf("run server: %v", err)
		}
	}()
	s.server, s.stop, s.wait = server, stop, func() { <-stopped }
	s.Cleanup(func() {
		stop()
		<-stopped
	})
}

func (s *site) git(dir string, args ...string) string {
	s.Helper()
	return fixture.Git(s, dir, fixture.GitEnv(s.dir), args...)
}

// commit makes a commit that changes one file, and gives its oid.
func (s *site) commit(name, content string) string {
	s.Helper()
	path := filepath.Join(s.work, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.Fatal(err)
	}
	s.git(s.work, "add", "-A")
	s.git(s.work, "commit", "-q", "-m", "change "+name)
	return s.git(s.work, "rev-parse", "HEAD")
}

func short(oid string) string { return oid[:7] }

// key makes a user's key; its rules are what the push asks for.
func (s *site) key(name, rules string) *keys.Key {
	s.Helper()
	parsed, err := keys.ParseRules(rules)
	if err != nil {
		s.Fatal(err)
	}
	return &keys.Key{Name: name, Rules: parsed, PublicKey: fixture.PublicKey()}
}

// pusher is one user with a clone to push from.
type pusher struct {
	*site
	key   *keys.Key
	from  string
	args  []string        // more arguments of git push
	begun *hooks.Session  // the last push's
	heard io.Writer       // gets git push's standard error as it comes, too; nil: nobody does
	line  context.Context // to the client; see hooks.Push

	mu     sync.Mutex
	pid    string      // file in which receive-pack's process id stands
	client *os.Process // git push
}

func (s *site) user(name string) *pusher {
	s.Helper()
	return &pusher{site: s, key: s.key(name, "deploy:*"), from: s.work}
}

// result is what came of a push.
type result struct {
	ok      bool
	said    string   // git push's standard error
	lines   []string // of refship
	outcome hooks.Outcome
	log     map[string]any // the log's line about the push
}

func (p *pusher) begin() *hooks.Session {
	p.Helper()
	session, err := p.server.Begin(hooks.Push{
		Repository: "config", Dir: p.bare, Key: p.key, Address: "[::1]:40000", Client: p.line,
		Began: func() (*keys.Key, bool) { return p.key, true },
	})
	if err != nil {
		p.Fatal(err)
	}
	return session
}

// wrapper writes the script that git push runs as receive-pack, in the way gitserver runs it. A shell reads it: a file
// that was just written cannot be executed as long as a child that another goroutine forks meanwhile has it open.
func (p *pusher) wrapper(session *hooks.Session) string {
	p.Helper()
	f, err := os.CreateTemp(p.dir, "receive-*.sh")
	if err != nil {
		p.Fatal(err)
	}
	pid := f.Name() + ".pid"
	p.mu.Lock()
	p.pid = pid
	p.mu.Unlock()
	fmt.Fprintf(f, "#!/bin/sh\necho $$ >'%s'\nexec env -i PATH=\"$PATH\" HOME='%s' LC_ALL=C GIT_CONFIG_NOSYSTEM=1 "+
		"GIT_CONFIG_GLOBAL=/dev/null %s "+
		"git -c core.hooksPath='%s' -c receive.unpackLimit=1 -c core.fsync=committed,reference -c receive.autogc=false "+
		"-c receive.advertisePushOptions=true receive-pack \"$@\"\n",
		pid, p.dir, strings.Join(session.Env(), " "), p.server.HooksPath())
	if err := f.Close(); err != nil {
		p.Fatal(err)
	}
	return f.Name()
}

// push pushes like `git push` and ends the session like gitserver.
func (p *pusher) push(refs ...string) result {
	p.Helper()
	session := p.begin()
	p.begun = session
	args := append([]string{"push", "--receive-pack=sh " + p.wrapper(session)}, p.args...)
	cmd := exec.Command("git", append(append(args, p.bare), refs...)...)
	cmd.Dir, cmd.Env = p.from, fixture.GitEnv(p.dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	if p.heard != nil {
		cmd.Stderr = io.MultiWriter(&said, p.heard)
	}
	p.mu.Lock()
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.client = cmd.Process
	p.mu.Unlock()
	err := cmd.Wait()
	p.await()
	r := result{ok: err == nil, said: said.String(), outcome: session.End(context.Background())}
	for line := range strings.Lines(r.said) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "remote: refship: "); ok {
			r.lines = append(r.lines, strings.TrimSpace(text))
		}
	}
	for _, line := range p.journal.About("push") {
		if line["user"] == p.key.Name { // others may push at the same time
			r.log = line
		}
	}
	p.Logf("push %q: %v\n%s", refs, err, r.said)
	return r
}

// intent.ReceivePack gives the process id of the last push's receive-pack.
func (p *pusher) receivePack() int {
	p.Helper()
	p.mu.Lock()
	path := p.pid
	p.mu.Unlock()
	text, err := os.ReadFile(path)
	if err != nil {
		p.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		p.Fatal(err)
	}
	return pid
}

// await waits until receive-pack is gone: after its client was killed it may live on for a moment.
func (p *pusher) await() {
	p.Helper()
	if _, err := os.Stat(p.pid); err != nil {
		return
	}
	fixture.Eventually(p, func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.receivePack()))
		return err != nil || bytes.Contains(state, []byte(") Z "))
	})
}

// killHook kills receive-pack's running hook. It may be called from a failure point.
func (p *pusher) killHook() {
	pid := p.receivePack()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		p.Error(err)
	}
	killed := false
	for _, child := range strings.Fields(string(children)) {
		n, _ := strconv.Atoi(child)
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n))
		if c := strings.TrimSpace(string(name)); c == "pre-receive" || c == "post-receive" {
			killed = syscall.Kill(n, syscall.SIGKILL) == nil || killed
		}
	}
	if !killed {
		p.Errorf("no hook runs below %d: %q", pid, children)
	}
}

// killReceivePack kills receive-pack and its hook, as gitserver's end does.
func (p *pusher) killReceivePack() {
	if err := syscall.Kill(p.receivePack(), syscall.SIGSTOP); err != nil { // so that it starts no other hook
		p.Error(err)
	}
	p.killHook()
	if err := syscall.Kill(p.receivePack(), syscall.SIGKILL); err != nil {
		p.Error(err)
	}
}

func (p *pusher) killClient() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.client.Kill(); err != nil {
		p.Error(err)
	}
}

// dump is all that etcd holds.
func (s *site) dump() map[string]string {
	s.Helper()
	return fixture.Dump(s.TB, s.client)
}

// refs are all refs of the served repository.
func (s *site) refs() string { return s.git(s.bare, "for-each-ref") }

func (s *site) ref(name string) string {
	s.Helper()
	return s.git(s.bare, "for-each-ref", "--format=%(objectname)", name)
}

// head gives the deploy hash and id of a chain's head.
func (s *site) head(ns record.Namespace) (string, record.ID) {
	s.Helper()
	d, err := s.store.Chain(ns).Head(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	if d == nil {
		return "", 0
	}
	return string(d.Hash), d.ID
}

// settled checks what holds after every push, however it went: no intent, no lock, no running git below.
func (s *site) settled() {
	s.Helper()
	if left, err := filepath.Glob(filepath.Join(s.bare, "refship", "pending", "*")); err != nil || len(left) > 0 {
		s.Errorf("intents left: %q, %v", left, err)
	}
	for key, value := range s.dump() {
		if strings.HasSuffix(key, "/refship/lock") {
			s.Errorf("lock left: %s %s", key, value)
		}
	}
}

// ended wants a push that git took, or not, with this result in the log, and with these deploys: their ids, in the
// order of their namespaces.
func (r result) ended(t testing.TB, ok bool, result string, ids ...record.ID) {
	t.Helper()
	var published []record.ID
	for _, d := range r.outcome.Published {
		published = append(published, d.ID)
	}
	if r.ok != ok || r.log["result"] != result || !slices.Equal(published, ids) {
		t.Errorf("push succeeded: %v, want %v; it is %v, want %q; deploys are %v, want %v; refused by %v, not deployed: "+
			"%v\n%s",
			r.ok, ok, r.log["result"], result, published, ids, r.outcome.Refused, r.outcome.Undeployed, r.said)
	}
}

// published wants a push whose refs moved and were deployed.
func (r result) published(t testing.TB, ids ...record.ID) {
	t.Helper()
	r.ended(t, true, "deployed", ids...)
}

// refused wants a push that was refused, with as many refusals as there are reasons, each of this kind; see
// fixture.WantReason.
func (r result) refused(t testing.TB, kind fault.Kind, reasons ...string) {
	t.Helper()
	r.ended(t, false, "refused")
	all := refusals(r.outcome.Refused)
	if len(all) != len(reasons) || !r.outcome.Reached {
		t.Errorf("pre-receive was called: %v; want %d refusals: %v", r.outcome.Reached, len(reasons), r.outcome.Refused)
		return
	}
	for i, err := range all {
		fixture.WantReason(t, kind, err, reasons[i])
	}
}

// conflicts wants a push that was refused for these heads, "NAMESPACE ID", and for nothing else.
func (r result) conflicts(t testing.TB, heads ...string) {
	t.Helper()
	r.ended(t, false, "refused")
	var got []string
	for _, err := range refusals(r.outcome.Refused) {
		var conflict *deploy.ConflictError
		if errors.As(err, &conflict) {
			got = append(got, fmt.Sprint(conflict.Namespace, " ", conflict.Head.ID))
		} else {
			got = append(got, fmt.Sprint(err))
		}
	}
	if !slices.Equal(got, heads) {
		t.Errorf("refused for %q, want %q", got, heads)
	}
}

// heldReason is that of a chain on hold by nobody in particular.
const heldReason = "chain-held /refship/config"

// undeployed wants a push whose ref moved, and whose deploy was not published; see fixture.WantReason.
func (r result) undeployed(t testing.TB, kind fault.Kind, reason string) {
	t.Helper()
	r.ended(t, true, "not deployed")
	fixture.WantReason(t, kind, r.outcome.Undeployed, reason)
}

// ops is a user that asks for deploys.
var ops = record.Pusher{Name: "ops", Key: "SHA256:ops", Via: "ssh"}

// ask asks for the deploy of a target, "" for all, as ops, and gives what was told.
func (s *site) ask(target string) (said []string, err error) {
	err = s.server.Deploy(context.Background(), nil, "config", s.bare, target, ops,
		func(line string) { said = append(said, line) })
	return said, err
}

// asked is ask where it has to go well, with this result and these deploys, "NAMESPACE ID", in the log.
func (s *site) asked(target, result string, deploys ...string) (said []string) {
	s.Helper()
	said, err := s.ask(target)
	line := s.last("deploy")
	if err != nil || line["result"] != result || !slices.Equal(line["deploys"].([]string), deploys) {
		s.Errorf("deploy is %v, %q, want %q, %q; %v; said %q", line["result"], line["deploys"], result, deploys, err, said)
	}
	return said
}

// reconcile wants Reconcile to go well and to publish these deploys for dead pushes, and gives what was told.
func (s *site) reconcile(exclusive bool, ids ...record.ID) (said []string) {
	s.Helper()
	before := len(s.journal.About("reconcile"))
	said, err := s.server.Reconcile(context.Background(), "config", s.bare, exclusive)
	var published []record.ID
	for _, line := range s.journal.About("reconcile")[before:] {
		if line["already"] == false {
			published = append(published, line["deploy"].(record.ID))
		}
	}
	if err != nil || !slices.Equal(published, ids) {
		s.Errorf("published %v, want %v; %v; said %q", published, ids, err, said)
	}
	return said
}

// last is the last line of the log with this message.
func (s *site) last(message string) map[string]any {
	s.Helper()
	lines := s.journal.About(message)
	if len(lines) == 0 {
		s.Fatalf("no %q in the log", message)
	}
	return lines[len(lines)-1]
}

// lastPush is the log line of the last push.
func (s *site) lastPush() map[string]any {
	s.Helper()
	return s.last("push")
}

// refusals are those that an error joins.
func refusals(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	return []error{err}
}

// says wants lines with these texts, in this order: a story that no kind tells.
func (r result) says(t testing.TB, texts ...string) {
	t.Helper()
	at := 0
	for _, l := range r.lines {
		for at < len(texts) && strings.Contains(l, texts[at]) {
			at++
		}
	}
	if at < len(texts) {
		t.Errorf("no line with %q (in this order: %q) in\n%s", texts[at], texts, r.said)
	}
}

// told is what a site's server has told.
type told[T any] struct {
	mu  sync.Mutex
	all []T
}

func (r *told[T]) add(one T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

// take gives what was told since the last time.
func (r *told[T]) take() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}
