package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/etcd/etcdtest"
	"refship/deploy/record"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

// permitted asks an etcd with authentication on as the user ship, whose role a test changes.
type permitted struct {
	*testing.T
	root     *clientv3.Client
	repos    repos.Dir
	ask      *permissions
	requests atomic.Int32
}

func newPermitted(t *testing.T) *permitted {
	url := etcdtest.Serve(t)
	ctx := t.Context()
	dial := func(user string) *clientv3.Client {
		conf := etcd.Config{Endpoints: []string{url}, DialTimeout: time.Minute} // bcrypt is slow under the race detector
		if user != "" {
			conf.User, conf.Password = user, "secret"
		}
		client, err := etcd.Dial(ctx, conf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}
	open := dial("")
	for _, step := range []func() error{
		func() error { _, err := open.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := open.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := open.UserAdd(ctx, "ship", "secret"); return err },
		func() error { _, err := open.RoleAdd(ctx, "ship"); return err },
		func() error { _, err := open.UserGrantRole(ctx, "ship", "ship"); return err },
		func() error { _, err := open.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	p := &permitted{T: t, root: dial("root"), repos: repos.Dir{Path: t.TempDir()}}
	client := dial("ship")
	client.KV = etcd.Observed(client.KV, func(etcd.Request) { p.requests.Add(1) })
	p.ask = &permissions{repos: p.repos, client: client}
	return p
}

func (p *permitted) create(name string) {
	p.Helper()
	one := target.Target{Name: "main", Ref: "refs/heads/main", Namespace: record.Namespace("/" + name), Frontend: record.Files}
	if _, err := p.repos.Create(p.Context(), name, "refs/heads/main", []target.Target{one}); err != nil {
		p.Fatal(err)
	}
}

func (p *permitted) grant(name string) {
	p.Helper()
	if _, err := p.root.RoleGrantPermission(p.Context(), "ship", "/"+name+"/", "/"+name+"0", clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		p.Fatal(err)
	}
}

func (p *permitted) revoke(name string) {
	p.Helper()
	if _, err := p.root.RoleRevokePermission(p.Context(), "ship", "/"+name+"/", "/"+name+"0"); err != nil {
		p.Fatal(err)
	}
}

// want asks once: "2 of 3 denied: /a /b".
func (p *permitted) want(when, want string) (requests int32) {
	p.Helper()
	before := p.requests.Load()
	now, err := p.ask.ask(p.Context())
	if err != nil {
		p.Errorf("%s: %v", when, err)
	}
	got := fmt.Sprintf("%d of %d denied:", len(now.denied), now.all)
	for _, ns := range now.denied {
		got += " " + string(ns)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.Errorf("%s:\n%s", when, diff)
	}
	return p.requests.Load() - before
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	p := newPermitted(t)
	if n := p.want("no repositories", "0 of 0 denied:"); n != 0 {
		t.Errorf("%d requests about nothing", n)
	}
	for _, name := range []string{"a", "b", "c"} {
		p.create(name)
		p.grant(name)
	}
	if n := p.want("all permitted", "0 of 3 denied:"); n != 1 {
		t.Errorf("%d requests", n)
	}
	p.revoke("b")
	p.want("one taken away", "1 of 3 denied: /b")
	if n := p.want("and it stays so", "1 of 3 denied: /b"); n != 2 {
		t.Errorf("%d requests", n)
	}
	p.grant("b")
	p.want("given back", "0 of 3 denied:")
	for _, name := range []string{"a", "b", "c"} {
		p.revoke(name)
	}
	p.want("all taken away", "3 of 3 denied: /a /b /c")
	for range 3 {
		if n := p.want("and it stays so", "3 of 3 denied: /a /b /c"); n != 1 {
			t.Errorf("%d requests", n)
		}
	}
	// Asked for in turn: found after as many questions as are denied, at most.
	p.grant("b")
	for range 3 {
		if _, err := p.ask.ask(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.want("one given back", "2 of 3 denied: /a /c")
	// What is new, and what is gone.
	p.create("d")
	p.want("a new repository", "3 of 4 denied: /a /c /d")
	if err := p.repos.RemoveTarget(t.Context(), "c", "main"); err != nil {
		t.Fatal(err)
	}
	p.want("a target is gone", "2 of 3 denied: /a /d")
	p.grant("a")
	p.grant("d")
	p.want("all given back", "0 of 3 denied:")
}

// However many are denied, one look asks little, nothing that was learned is lost, and the one that is permitted keeps the
// server ready all the while.
func TestPermissionsOfMany(t *testing.T) {
	t.Parallel()
	p := newPermitted(t)
	const n = 60
	for i := range n {
		p.create(fmt.Sprintf("r%02d", i))
	}
	p.grant("r31")
	known := 0
	for looks := 1; ; looks++ {
		before := p.requests.Load()
		now, err := p.ask.ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if asked := p.requests.Load() - before; asked > maxQuestions {
			t.Errorf("look %d asked %d times", looks, asked)
		}
		if len(now.denied) < known || now.all != n || len(now.denied) == n {
			t.Fatalf("look %d: %d of %d denied, %d before", looks, len(now.denied), now.all, known)
		}
		known = len(now.denied)
		if now.done {
			break
		}
		late, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.ask.ask(late); err == nil {
			t.Error("a look that had no time at all says nothing of it")
		}
	}
	if known != n-1 {
		t.Errorf("%d of %d denied", known, n)
	}
}

// Where some namespaces are denied the server is ready, and tells who asks; where all are it is not.
func TestReadyWithDenied(t *testing.T) {
	t.Parallel()
	line := deniedLine("/a")
	if want := "/a: etcd's role may not read and write there, its pushes are refused; "; !strings.HasPrefix(line, want) || !strings.HasSuffix(line, " readwrite /a/") {
		t.Error(line)
	}
	some := []check{{"write", func() error { return fmt.Errorf("so: %w", &partial{[]string{"/a\x1b", "/b"}}) }}, {"other", func() error { return nil }}}
	if status, body := asked(probe("readyz", some), "/readyz"); status != 200 || body != "ok\n" {
		t.Errorf("%d %s", status, body)
	}
	const lines = "[!]write warning: /a\\x1b\n[!]write warning: /b\n"
	if status, body := asked(probe("readyz", some), "/readyz?verbose"); status != 200 || body != lines+"[+]other ok\nreadyz check passed\n" {
		t.Errorf("%d %s", status, body)
	}
	some[1].run = func() error { return errors.New("no") }
	if status, body := asked(probe("readyz", some), "/readyz"); status != 503 || body != lines+"[-]other failed: no\nreadyz check failed\n" {
		t.Errorf("%d %s", status, body)
	}
}
