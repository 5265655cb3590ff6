package embedded_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

func TestListenTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := fixture.ShortDir(t)
	_, err = embedded.Start(t.Context(), embedded.Config{Dir: dir, Listen: taken.Addr().String(), Log: fixture.Log(t)})
	fixture.WantError(t, err, nil, taken.Addr().String()+": bind: address already in use", "another address")
	checkReason(t, err, embedded.ReasonListenTaken)
	start(t, embedded.Config{Dir: dir}) // the failed start has left nothing behind
}

func TestListenRefused(t *testing.T) {
	for _, test := range []struct{ listen, words, hint string }{
		{"0.0.0.0:0", "listen on 0.0.0.0:0: etcd needs TLS", "127.0.0.1:2379"},
		{":0", "listen on :0: etcd needs TLS", "loopback"},
		{"[::]:0", "listen on [::]:0: etcd needs TLS", "loopback"},
		{"192.0.2.1:2379", "192.0.2.1:2379: etcd needs TLS with client certificates", "trusted CA"},
		{"[::ffff:192.0.2.1]:2379", "needs TLS", "loopback"},
		{"127.0.0.1", "not HOST:PORT", "127.0.0.1:2379"},
		{"127.0.0.1:http", `port "http" is not a number`, ""},
		{"127.0.0.1:65536", `port "65536" is not a number up to 65535`, ""},
		{"127.0.0.1:", `port "" is not a number`, ""},
	} {
		dir := fixture.ShortDir(t)
		_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Listen: test.listen, Log: fixture.Log(t)})
		fixture.WantError(t, err, nil, test.words, test.hint)
		if strings.Contains(test.words, "TLS") {
			checkReason(t, err, embedded.ReasonListenPlain)
		}
		if _, err := os.Stat(filepath.Join(dir, "member")); err == nil {
			t.Errorf("%s: etcd has been started", test.listen)
		}
	}
}

func TestListenLoopback(t *testing.T) {
	for _, listen := range []string{"127.9.9.9:1", "[::1]:0", "[::ffff:127.0.0.1]:0"} {
		if err := (&embedded.Config{Listen: listen}).CheckListen(t.Context()); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "127.0.0.2:0", "localhost:0"} {
		e := start(t, embedded.Config{Listen: listen})
		host, port, err := net.SplitHostPort(e.Addr())
		if err != nil || port == "0" || !net.ParseIP(host).IsLoopback() {
			t.Errorf("%s: listens on %s, %v", listen, e.Addr(), err)
		}
		client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{"http://" + e.Addr()}, Log: fixture.Log(t)})
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
}

func TestTLSFiles(t *testing.T) {
	ca, err := fixture.NewAuthority(t.TempDir())
	if err == nil {
		err = ca.Issue("server", true)
	}
	if err != nil {
		t.Fatal(err)
	}
	cert, key := ca.File("server.crt"), ca.File("server.key")
	for _, test := range []struct{ cert, key, ca, words string }{
		{cert, "", "", "only 1 of them"}, // on loopback too
		{cert, key, "", "only 2 of them"},
		{cert, ca.File("ca.key"), ca.File("ca.crt"), ca.File("ca.key")},
		{ca.File("none"), key, ca.File("ca.crt"), ca.File("none")},
		{cert, key, ca.File("none"), ca.File("none")},
		{cert, key, key, "no PEM certificate"},
	} {
		_, err := embedded.Start(t.Context(), embedded.Config{
			Dir: fixture.ShortDir(t), Listen: "127.0.0.1:0", Log: fixture.Log(t),
			CertFile: test.cert, KeyFile: test.key, TrustedCAFile: test.ca,
		})
		fixture.WantError(t, err, nil, test.words, "")
	}
}
