package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
)

// TestEtcdFlagsAreCheckedAsDialDoes: what Dial refuses without dialling is a usage error before anything is done, and
// nothing else is. A context that has ended keeps Dial from dialling.
func TestEtcdFlagsAreCheckedAsDialDoes(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		flags etcdFlags
		want  string // in the error; "": fine
	}{
		{etcdFlags{Endpoints: []string{"127.0.0.1:1"}}, ""},
		{etcdFlags{Endpoints: []string{"http://127.0.0.1:1/", "http://[::1]:65535"}}, ""},
		{etcdFlags{Endpoints: []string{"https://etcd.example:1"}}, ""},
		{etcdFlags{Endpoints: []string{"unix:///run/a%20b"}}, ""},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me:pass:word"}, ""},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me", Password: "p"}, ""},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me:x", Password: "p"}, ""},
		{etcdFlags{Endpoints: []string{"ftp://h:1"}}, `"ftp://h:1" has the unknown scheme "ftp"`},
		{etcdFlags{Endpoints: []string{"h:1", "HTTP://h:1"}}, `unknown scheme "HTTP"`},
		{etcdFlags{Endpoints: []string{""}}, `"" is not HOST:PORT`},
		{etcdFlags{Endpoints: []string{"h"}}, `"h" is not HOST:PORT`},
		{etcdFlags{Endpoints: []string{":1"}}, "is not HOST:PORT"},
		{etcdFlags{Endpoints: []string{"http://h"}}, "is not HOST:PORT"},
		{etcdFlags{Endpoints: []string{"http://h:1/path"}}, "a port is a number"},
		{etcdFlags{Endpoints: []string{"h:65536"}}, "a port is a number"},
		{etcdFlags{Endpoints: []string{"unix://run/x"}}, "absolute path"},
		{etcdFlags{Endpoints: []string{"unix:///run/%zz"}}, "absolute path"},
		{etcdFlags{Endpoints: []string{"h:1", "http://h:1"}}, "differ in their scheme"},
		{etcdFlags{Endpoints: []string{"http://h:1"}, CACert: "ca"}, "is plain HTTP"},
		{etcdFlags{Endpoints: []string{"http://h:1"}, Key: "key"}, "is plain HTTP"},
		{etcdFlags{Endpoints: []string{"https://h:1"}, Key: "key"}, "certificate and its key"},
		{etcdFlags{Endpoints: []string{"https://h:1"}, Cert: "cert"}, "certificate and its key"},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me"}, `no password for user "me"`},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me:"}, `no password for user "me"`},
		{etcdFlags{Endpoints: []string{"h:1"}, User: ":p"}, "a password and no user"},
		{etcdFlags{Endpoints: []string{"h:1"}, Password: "p"}, "a password and no user"},
	} {
		err := c.flags.check()
		usage := (*usageError)(nil)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.flags, err)
		case c.want != "" && (!errors.As(err, &usage) || exitCode(err) != exitUsage || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %q", c.flags, err, c.want)
		}
		client, err := etcd.Dial(ended, c.flags.config(slog.New(slog.DiscardHandler)))
		if err == nil {
			t.Fatalf("%+v: dialled in spite of the context: %v", c.flags, client.Close())
		}
		if dialled := errors.Is(err, context.Canceled); dialled != (c.want == "") {
			t.Errorf("%+v: Dial says %v", c.flags, err)
		}
	}
}

// TestEtcdListenIsCheckedAsStartDoes: the same for the embedded etcd's port.
func TestEtcdListenIsCheckedAsStartDoes(t *testing.T) {
	for _, c := range []struct {
		flags serveCmd
		want  string
	}{
		{serveCmd{EtcdListen: "0.0.0.0:0"}, "needs TLS"},
		{serveCmd{EtcdListen: ":0"}, "needs TLS"},
		{serveCmd{EtcdListen: "[::]:0"}, "needs TLS"},
		{serveCmd{EtcdListen: "[::ffff:192.0.2.1]:0"}, "needs TLS"},
		{serveCmd{EtcdListen: "127.0.0.1:0", EtcdKeyFile: "k"}, "only 1 of them"},
		{serveCmd{EtcdListen: "0.0.0.0:0", EtcdKeyFile: "k", EtcdCertFile: "c"}, "only 2 of them"},
		{serveCmd{EtcdListen: "127.0.0.1"}, "is not HOST:PORT"},
		{serveCmd{EtcdListen: "127.0.0.1:x"}, "a port is a number"},
	} {
		err := c.flags.checkEtcdListen(t.Context())
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.flags, err, c.want)
		}
		dir := filepath.Join(t.TempDir(), "etcd")
		e, err := embedded.Start(t.Context(), embedded.Config{
			Dir: dir, Listen: c.flags.EtcdListen, Log: slog.New(slog.DiscardHandler),
			CertFile: c.flags.EtcdCertFile, KeyFile: c.flags.EtcdKeyFile, TrustedCAFile: c.flags.EtcdTrustedCAFile,
		})
		if err == nil {
			t.Errorf("%+v: etcd starts: %v", c.flags, e.Close())
		}
	}
	for _, address := range []string{"127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "[::ffff:127.0.0.1]:0", "localhost:0"} {
		if err := (&serveCmd{EtcdListen: address}).checkEtcdListen(t.Context()); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := (&serveCmd{EtcdListen: "0.0.0.0:0", EtcdCertFile: "c", EtcdKeyFile: "k", EtcdTrustedCAFile: "a"}).checkEtcdListen(t.Context()); err != nil {
		t.Error(err)
	}
}
