package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

// authEtcd is an etcd with authentication on.
type authEtcd struct {
	*testing.T
	url  string
	root *clientv3.Client
}

// bothEtcds runs a test against the etcd that refship has inside, and against the one that is installed.
func bothEtcds(t *testing.T, run func(*authEtcd)) {
	for name, serve := range map[string]func(*testing.T) string{
		"embedded": func(t *testing.T) string { return fixture.ServeEtcd(t) },
		"stock":    func(t *testing.T) string { return fixture.StartProcess(t, "--bcrypt-cost=4").URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &authEtcd{T: t, url: serve(t)}
			fixture.EnableAuth(t, e.dial(""))
			e.root = e.dial("root")
			run(e)
		})
	}
}

func (e *authEtcd) dial(user string) *clientv3.Client {
	e.Helper()
	conf := etcd.Config{Endpoints: []string{e.url}, DialTimeout: time.Minute} // bcrypt is slow under the race detector
	if user != "" {
		conf.User, conf.Password = user, "secret"
	}
	client, err := etcd.Dial(e.Context(), conf)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = client.Close() })
	return client
}

// grant gives the role ship a permission for what begins with prefix.
func (e *authEtcd) grant(prefix string, kind clientv3.PermissionType) {
	e.Helper()
	if _, err := e.root.RoleGrantPermission(e.Context(), "ship", prefix, clientv3.GetPrefixRangeEnd(prefix),
		kind); err != nil {
		e.Fatal(err)
	}
}

// wantDenied compares what is denied, and sees that asking has changed nothing.
func (e *authEtcd) wantDenied(client *clientv3.Client, all []record.Namespace, want ...record.Namespace) {
	e.Helper()
	before := e.everything()
	denied, err := deploy.NewStore(client, deploy.Config{LeaseTTL: time.Minute, Log: nil}).Denied(e.Context(), all)
	if err != nil {
		e.Error(err)
	}
	var got []record.Namespace
	for _, err := range denied {
		ns, _, _ := strings.Cut(err.Error(), ": ")
		got = append(got, record.Namespace(ns))
		if !fault.Is(err, fault.Refused) || !strings.HasSuffix(fault.RemedyOf(err), " readwrite "+ns+"/") {
			e.Errorf("%v, %s", err, fault.RemedyOf(err))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		e.Errorf("denied (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, e.everything()); diff != "" {
		e.Errorf("asking has written:\n%s", diff)
	}
}

// everything is etcd's revision and all of its keys.
func (e *authEtcd) everything() string {
	e.Helper()
	resp, err := e.root.Get(e.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		e.Fatal(err)
	}
	return fmt.Sprint(resp.Header.Revision, resp.Kvs)
}

func TestDenied(t *testing.T) {
	t.Parallel()
	bothEtcds(t, func(e *authEtcd) {
		ship := e.dial("ship")
		e.wantDenied(ship, nil)
		e.wantDenied(ship, []record.Namespace{"/a"}, "/a")
		if _, err := e.root.Put(e.Context(), "/a/deploy/1/record", "old"); err != nil {
			e.Fatal(err)
		}
		e.grant("/a/", clientv3.PermissionType(clientv3.PermRead))
		e.wantDenied(ship, []record.Namespace{"/a"}, "/a")
		e.grant("/a/", clientv3.PermissionType(clientv3.PermWrite))
		e.wantDenied(ship, []record.Namespace{"/a"}, "/a")
		e.grant("/a/", clientv3.PermissionType(clientv3.PermReadWrite))
		e.wantDenied(ship, []record.Namespace{"/a"})
		// Half of what is needed, and no namespace of one's own.
		e.grant("/b/refship/", clientv3.PermissionType(clientv3.PermReadWrite))
		e.grant("/b/deploy/", clientv3.PermissionType(clientv3.PermReadWrite))
		e.wantDenied(ship, []record.Namespace{"/a", "/b", "/a2"}, "/b", "/a2")
		e.grant("/b/storage/", clientv3.PermissionType(clientv3.PermReadWrite))
		e.wantDenied(ship, []record.Namespace{"/a", "/b", "/a2"}, "/a2")
		// More than go into one txn, by a user that may do anything.
		var many, odd []record.Namespace
		for i := range 100 {
			ns := record.Namespace(fmt.Sprint("/a/", i))
			if i%9 == 0 {
				ns = record.Namespace(fmt.Sprint("/odd/", i))
				odd = append(odd, ns)
			}
			many = append(many, ns)
		}
		e.wantDenied(ship, many, odd...)
		e.wantDenied(e.root, many)
	})
}

// Asking costs one request for many namespaces.
func TestDeniedIsCheap(t *testing.T) {
	f := newSetup(t)
	store := deploy.NewStore(f.client, deploy.Config{LeaseTTL: time.Minute, Log: nil})
	for n, want := range map[int]int{0: 0, 1: 1, 42: 1, 43: 2} {
		all := make([]record.Namespace, n)
		for i := range all {
			all[i] = record.Namespace(fmt.Sprint("/a/", i))
		}
		requests := f.tap.count(func() {
			if denied, err := store.Denied(t.Context(), all); err != nil || len(denied) > 0 {
				t.Errorf("%v, %v", denied, err)
			}
		})
		if requests != want {
			t.Errorf("%d requests for %d namespaces, want %d", requests, n, want)
		}
	}
}

// What is wrong otherwise is no denial.
func TestDeniedFails(t *testing.T) {
	f := newSetup(t)
	for _, name := range []string{"full", "invalid token"} {
		f.inject(faults[name], 0, 1000)
		denied, err := deploy.NewStore(f.client, deploy.Config{LeaseTTL: time.Minute, Log: nil}).Denied(t.Context(),
			[]record.Namespace{"/a", "/b"})
		if denied != nil || !errors.Is(err, faults[name].kind) ||
			!strings.Contains(err.Error(), "ask for permission to write /a: ") {
			t.Errorf("%s: %v, %v", name, denied, err)
		}
	}
}

// The remedy of a missing permission names the namespace, whether it is missed when reading, locking or storing.
func TestMissingPermissionNamesTheNamespace(t *testing.T) {
	t.Parallel()
	bothEtcds(t, func(e *authEtcd) {
		f := newSetupOn(e.T, e.dial("ship"))
		const remedy = "etcdctl role grant-permission ROLE --prefix=true readwrite /refship/config/ (read is enough for " +
			"reading)"
		wants := func(what string, err error) {
			e.Helper()
			if !errors.Is(err, etcd.ErrDenied) {
				e.Errorf("%s: %v", what, err)
				return
			}
			if !strings.HasSuffix(fault.RemedyOf(err), remedy) {
				e.Errorf("%s: %v has no such hint", what, err)
			}
			if !strings.HasSuffix(err.Error(), "etcd denied: etcdserver: permission denied") {
				e.Errorf("%s: %v", what, err)
			}
		}
		_, err := f.chain.Head(e.Context())
		wants("read", err)
		e.grant("/refship/config/", clientv3.PermissionType(clientv3.PermRead))
		_, err = f.lock(f.store, 0)
		wants("lock", err)
		e.grant("/refship/config/refship/", clientv3.PermissionType(clientv3.PermReadWrite))
		_, _, err = f.do(f.job(f.one()))
		wants("store", err)
		e.grant("/refship/config/storage/", clientv3.PermissionType(clientv3.PermReadWrite))
		_, _, err = f.do(f.job(f.one()))
		wants("publish", err)
		e.grant("/refship/config/deploy/", clientv3.PermissionType(clientv3.PermReadWrite))
		f.deploy(f.one())
	})
}
