package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// TestEtcdFlagsAreCheckedAsDialDoes: what Dial refuses without dialling is a usage error before anything is done, and
// nothing else is. A context that has ended keeps Dial from dialling.
func TestEtcdFlagsAreCheckedAsDialDoes(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		flags etcdFlags
		usage bool // it is refused
	}{
		{etcdFlags{Endpoints: []string{"127.0.0.1:1"}}, false},
		{etcdFlags{Endpoints: []string{"http://127.0.0.1:1/", "http://[::1]:65535"}}, false},
		{etcdFlags{Endpoints: []string{"https://etcd.example:1"}}, false},
		{etcdFlags{Endpoints: []string{"unix:///run/a%20b"}}, false},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me:pass:word"}, false},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me", Password: "p"}, false},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me:x", Password: "p"}, false},
		{etcdFlags{Endpoints: []string{"ftp://h:1"}}, true},
		{etcdFlags{Endpoints: []string{"h:1", "HTTP://h:1"}}, true},
		{etcdFlags{Endpoints: []string{""}}, true},
		{etcdFlags{Endpoints: []string{"h"}}, true},
		{etcdFlags{Endpoints: []string{":1"}}, true},
		{etcdFlags{Endpoints: []string{"http://h"}}, true},
		{etcdFlags{Endpoints: []string{"http://h:1/path"}}, true},
		{etcdFlags{Endpoints: []string{"h:65536"}}, true},
		{etcdFlags{Endpoints: []string{"unix://run/x"}}, true},
		{etcdFlags{Endpoints: []string{"unix:///run/%zz"}}, true},
		{etcdFlags{Endpoints: []string{"h:1", "http://h:1"}}, true},
		{etcdFlags{Endpoints: []string{"http://h:1"}, CACert: "ca"}, true},
		{etcdFlags{Endpoints: []string{"http://h:1"}, Key: "key"}, true},
		{etcdFlags{Endpoints: []string{"https://h:1"}, Key: "key"}, true},
		{etcdFlags{Endpoints: []string{"https://h:1"}, Cert: "cert"}, true},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me"}, true},
		{etcdFlags{Endpoints: []string{"h:1"}, User: "me:"}, true},
		{etcdFlags{Endpoints: []string{"h:1"}, User: ":p"}, true},
		{etcdFlags{Endpoints: []string{"h:1"}, Password: "p"}, true},
	} {
		if err := c.flags.check(); fault.Is(err, fault.Usage) != c.usage || (err == nil) == c.usage {
			t.Errorf("%+v: %v", c.flags, err)
		}
		client, err := etcd.Dial(ended, c.flags.config(slog.New(slog.DiscardHandler)))
		if err == nil {
			t.Fatalf("%+v: dialled in spite of the context: %v", c.flags, client.Close())
		}
		if dialled := errors.Is(err, context.Canceled); dialled == c.usage {
			t.Errorf("%+v: Dial says %v", c.flags, err)
		}
	}
}

// The socket of a running server is found in directories with names that a URL encodes.
func TestServesEtcd(t *testing.T) {
	root := fixture.ShortDir(t)
	dir := dataDir{path: filepath.Join(root, "a b%41")}
	if dir.servesEtcd() {
		t.Error("before the start")
	}
	fixture.StartEtcd(t, embedded.Config{Dir: dir.etcd()})
	if !dir.servesEtcd() {
		t.Error("it runs")
	}
}
