package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

func dial(t testing.TB, cfg etcd.Config) *clientv3.Client {
	t.Helper()
	cfg.Log = fixture.Log(t)
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = time.Minute // bcrypt is slow under the race detector
	}
	client, err := etcd.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// closedPort is a loopback address where nothing listens. It is taken until the test ends: a port that is only free
// could become somebody else's.
func closedPort(t *testing.T) string {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(socket) })
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", addr.(*unix.SockaddrInet4).Port)
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the kernel accepts for us
}

func TestDialFails(t *testing.T) {
	etcdAddr := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"}).Addr()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	webAddr := web.Listener.Addr().String()
	closed, quiet := closedPort(t), silent(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		endpoints   string
		kind        error
		words, hint string
	}{
		"closed port": {
			closed, etcd.ErrUnreachable,
			"dial " + closed + ": etcd unreachable: dial tcp " + closed + ": connect: connection refused", "is etcd running",
		},
		"closed port, URL": {"http://" + closed, etcd.ErrUnreachable, "connection refused", "is etcd running"},
		"two closed ports": {closed + " 127.0.0.2:1", etcd.ErrUnreachable, closed + ", 127.0.0.2:1", "is etcd running"},
		"TLS to plain":     {"https://" + etcdAddr, etcd.ErrUnreachable, "https://" + etcdAddr, "use http://"},
		"web server":       {webAddr, etcd.ErrUnreachable, webAddr, "something other"},
		"silence":          {quiet, etcd.ErrUnreachable, quiet, ""},
		"no socket": {"unix:///nowhere/etcd.sock", etcd.ErrUnreachable, "/nowhere/etcd.sock",
			"is the server running"},
		"file, not a socket":   {"unix://" + file, etcd.ErrUnreachable, "connection refused", "is etcd running"},
		"unknown host":         {"host.invalid:2379", etcd.ErrUnreachable, "host.invalid", "host name"},
		"no endpoint":          {"", nil, "no endpoint", "etcd-endpoints-missing"},
		"no port":              {"http://127.0.0.1", nil, "not HOST:PORT", "https://HOST:PORT"},
		"no host":              {":2379", nil, "not HOST:PORT", "HOST:PORT"},
		"path":                 {"http://127.0.0.1:1/path", nil, `"http://127.0.0.1:1/path"`, "HOST:PORT"},
		"unknown scheme":       {"ftp://127.0.0.1:2379", nil, `scheme "ftp"`, "HOST:PORT"},
		"relative socket":      {"unix://etcd.sock", nil, "absolute", "unix:///PATH"},
		"mixed schemes":        {"http://" + closed + " https://" + closed, nil, "differ in their scheme", "same scheme"},
		"bad escape in a path": {"unix:///a%zz", nil, "%zz", "unix:///PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			began, limit := time.Now(), 2*time.Minute // all but silence is noticed at once
			if name == "silence" {
				limit = 500 * time.Millisecond
			}
			client, err := etcd.Dial(t.Context(), etcd.Config{
				Endpoints: strings.Fields(test.endpoints), DialTimeout: limit, Log: fixture.Log(t),
			})
			if err == nil {
				client.Close()
			}
			fixture.WantError(t, err, test.kind, test.words, test.hint)
			if took := time.Since(began); took > time.Minute {
				t.Errorf("Dial took %s", took)
			}
		})
	}
}

// One endpoint that answers is enough.
// TestSocketDir: the directory of the etcd inside a server is known by its endpoint, and of no other etcd.
func TestSocketDir(t *testing.T) {
	for _, dir := range []string{"/var/lib/refship/etcd", "/a b,c%d#e?f/ü"} {
		if got := etcd.SocketDir(etcd.Socket(dir)); got != dir {
			t.Errorf("got %q, want %q", got, dir)
		}
	}
	for _, endpoint := range []string{
		"127.0.0.1:2379", "https://etcd.example.org:2379", "unix:///run/etcd/client.sock", "unix:", "", "%",
	} {
		if got := etcd.SocketDir(endpoint); got != "" {
			t.Errorf("%s: got %q", endpoint, got)
		}
	}
}

func TestDialSomeEndpoints(t *testing.T) {
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	client := dial(t, etcd.Config{Endpoints: []string{closedPort(t), e.Addr()}})
	if _, err := client.Put(t.Context(), "key", "value"); err != nil {
		t.Error(err)
	}
	if _, err := etcd.ReadSpace(t.Context(), client); err != nil {
		t.Error(err)
	}
}

func TestDialCancelled(t *testing.T) {
	for _, user := range []string{"", "name:password"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := etcd.Dial(ctx, etcd.Config{
			Endpoints: []string{silent(t)}, User: user, DialTimeout: time.Hour, Log: fixture.Log(t),
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Minute {
			t.Errorf("Dial took %s", took)
		}
	}
}

// The client outlives the context it was dialled with.
func TestDialContext(t *testing.T) {
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	ctx, cancel := context.WithCancel(t.Context())
	client, err := etcd.Dial(ctx, etcd.Config{Endpoints: []string{e.Addr()}, Log: fixture.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cancel()
	if _, err := client.Put(t.Context(), "key", "value"); err != nil {
		t.Error(err)
	}
	if err := client.Ctx().Err(); err != nil {
		t.Error(err)
	}
}

func TestStderrStaysEmpty(t *testing.T) {
	t.Parallel()
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(exe, closedPort(t), "https://"+e.Addr(), silent(t), "unix:///nowhere")
	cmd.Env = append(os.Environ(), childEnv+"=dial")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(stdout.String(), " true\n"); n != 4 {
		t.Errorf("stdout: %s", stdout.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.String())
	}
}

// An etcd that stands still keeps its connections. The client notices that it does not answer, and gives up early.
func TestEtcdPaused(t *testing.T) {
	t.Parallel()
	process := fixture.StartProcess(t)
	kv := etcd.Bounded(dial(t, etcd.Config{Endpoints: []string{process.URL()}}))
	if err := process.Pause(); err != nil {
		t.Fatal(err)
	}
	_, err := etcd.Exist(t.Context(), kv, []string{"key/0"})
	// The remedy tells that it was not tried for as long as an etcd that is there and slow.
	fixture.WantError(t, err, etcd.ErrUnreachable, "no answer within", "etcdctl endpoint health")
	if err := process.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err = etcd.Exist(t.Context(), kv, []string{"key/0"}); err != nil {
		t.Errorf("the client did not come back: %v", err)
	}
}

func TestAuthentication(t *testing.T) {
	e := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	root := e.Client()
	ctx := t.Context()
	enableAuth(t, root)
	for _, test := range []struct{ user, password, words, hint string }{
		{"", "", "user name is empty", "etcd-user-empty"},
		{"ship:wrong", "", "authentication failed", "etcd-login"},
		{"nobody:x", "", "authentication failed", "etcd-login"},
		{"ship:pass:word", "other", "authentication failed", "etcd-login"}, // etcdctl: then all of it is the name
	} {
		_, err := etcd.Dial(ctx, etcd.Config{
			Endpoints: []string{e.Addr()}, User: test.user, Password: test.password,
			DialTimeout: time.Minute, Log: fixture.Log(t),
		})
		fixture.WantError(t, err, etcd.ErrDenied, test.words, test.hint)
	}
	_, err := etcd.Dial(ctx, etcd.Config{Endpoints: []string{e.Addr()}, User: "ship", Log: fixture.Log(t)})
	fixture.WantError(t, err, nil, `no password for user "ship"`, "etcd-password-missing")

	for _, user := range []etcd.Config{{User: "ship", Password: "pass:word"}, {User: "ship:pass:word"}} {
		user.Endpoints, user.DialTimeout = []string{e.Addr()}, time.Minute // bcrypt is slow under the race detector
		checkShip(t, dial(t, user))
	}
}

// checkShip checks what a user may do whose role covers /ours/ only.
func checkShip(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	w := etcd.NewWriter(ctx, client)
	if err := errors.Join(w.Put("/ours/key", []byte("value")), w.Barrier()); err != nil {
		t.Error(err)
	}
	if exist, err := etcd.Exist(ctx, client, []string{"/ours/key"}); err != nil || !exist[0] {
		t.Errorf("%v, %v", exist, err)
	}
	put(t, w, "/theirs", nil)
	fixture.WantError(t, w.Barrier(), etcd.ErrDenied, "/theirs", "role")
	_, err := etcd.Exist(ctx, client, []string{"/theirs"})
	fixture.WantError(t, err, etcd.ErrDenied, "permission denied", "role")
	if space, err := etcd.ReadSpace(ctx, client); err != nil || space.Quota != 8<<30 || space.NoSpace {
		t.Errorf("%+v, %v", space, err)
	}
}
