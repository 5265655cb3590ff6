package monitor

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

// permitted probes an etcd with authentication on as the user ship, whose role a test changes.
type permitted struct {
	*testing.T
	root   *clientv3.Client
	repos  repos.Dir
	health *health
}

func newPermitted(t *testing.T) *permitted {
	url := fixture.ServeEtcd(t)
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
	fixture.EnableAuth(t, dial(""))
	p := &permitted{T: t, root: dial("root"), repos: repos.Dir{Path: t.TempDir()}}
	p.health = newHealth(Config{
		Repos: p.repos,
		Store: deploy.NewStore(dial("ship"), deploy.Config{
			LeaseTTL: time.Minute, Log: slog.New(slog.DiscardHandler),
		}),
	})
	return p
}

func (p *permitted) create(name string) {
	p.Helper()
	one := target.Target{Name: "main", Ref: "refs/heads/main", Namespace: record.Namespace("/" + name),
		Frontend: record.Files}
	if _, err := p.repos.Create(p.Context(), name, git.FormatSHA1, "refs/heads/main", []target.Target{one}); err != nil {
		p.Fatal(err)
	}
}

func (p *permitted) grant(name string) {
	p.Helper()
	if _, err := p.root.RoleGrantPermission(p.Context(), "ship", "/"+name+"/", "/"+name+"0",
		clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		p.Fatal(err)
	}
}

func (p *permitted) revoke(name string) {
	p.Helper()
	if _, err := p.root.RoleRevokePermission(p.Context(), "ship", "/"+name+"/", "/"+name+"0"); err != nil {
		p.Fatal(err)
	}
}

// want compares which namespaces are denied, of how many: "2 of 3 denied: /a /b".
func (p *permitted) want(when, want string) {
	p.Helper()
	now, err := p.health.readPermissions(p.Context())
	if err != nil {
		p.Errorf("%s: %v", when, err)
	}
	got := fmt.Sprintf("%d of %d denied:", len(now.denied), now.all)
	for _, err := range now.denied {
		ns, _, _ := strings.Cut(err.Error(), ": ")
		got += " " + ns
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.Errorf("%s:\n%s", when, diff)
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	p := newPermitted(t)
	p.want("no repositories", "0 of 0 denied:")
	for _, name := range []string{"a", "b", "c"} {
		p.create(name)
		p.grant(name)
	}
	p.want("all permitted", "0 of 3 denied:")
	p.revoke("b")
	p.want("one taken away", "1 of 3 denied: /b")
	p.grant("b")
	p.want("given back", "0 of 3 denied:")
	for _, name := range []string{"a", "b", "c"} {
		p.revoke(name)
	}
	p.want("all taken away", "3 of 3 denied: /a /b /c")
	p.grant("b")
	p.want("one given back", "2 of 3 denied: /a /c")
	// What is new, and what is gone.
	p.create("d")
	p.want("a new repository", "3 of 4 denied: /a /c /d")
	if err := p.repos.RemoveTarget(t.Context(), "c", "main"); err != nil {
		t.Fatal(err)
	}
	p.want("a target is gone", "2 of 3 denied: /a /d")

	// With some namespaces denied the server is ready. With all of them it is not.
	var some warnings
	if err := p.health.probeWrite(); !errors.As(err, &some) || len(some) != 2 {
		t.Errorf("some are denied: %v", err)
	}
	p.revoke("b")
	p.health.permissions.last.at = p.health.permissions.last.at.Add(-cacheTime)
	if err := p.health.probeWrite(); err == nil || errors.As(err, &some) {
		t.Errorf("all are denied: %v", err)
	}
}
