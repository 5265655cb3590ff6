package etcd_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// newAuthority makes a CA for one test, with certificates for servers and clients, by name.
func newAuthority(t *testing.T, servers, clients []string) *fixture.Authority {
	t.Helper()
	ca, err := fixture.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(servers, clients...) {
		if err := ca.Issue(name, slices.Contains(servers, name)); err != nil {
			t.Fatal(err)
		}
	}
	return ca
}

// Certificates and their CA are renewed on disk while a client has connections.
func TestTLSRenewed(t *testing.T) {
	old, renewed := newAuthority(t, []string{"server"}, []string{"client"}), newAuthority(t, []string{"server"}, nil)
	trusted := filepath.Join(t.TempDir(), "clients-ca.crt")
	copyFile(t, old.File("ca.crt"), trusted)
	e := fixture.StartEtcd(t, embedded.Config{
		Listen:   "127.0.0.1:0",
		CertFile: old.File("server.crt"), KeyFile: old.File("server.key"), TrustedCAFile: trusted,
	})
	before := newMember(t, e.Addr())
	client := dial(t, etcd.Config{
		Endpoints: []string{"https://" + before.addr},
		CACert:    old.File("ca.crt"), Cert: old.File("client.crt"), Key: old.File("client.key"),
	})
	kv := etcd.Bounded(client)
	get := func() error {
		_, err := kv.Get(t.Context(), "key")
		return err
	}
	for _, name := range []string{"server.crt", "server.key"} {
		copyFile(t, renewed.File(name), old.File(name))
	}
	before.cut()
	fixture.WantError(t, get(), etcd.ErrDenied, "signed by unknown authority", "etcd-ca")
	if err := os.Remove(old.File("ca.crt")); err != nil {
		t.Fatal(err)
	}
	err := get()
	for end := time.Now().Add(time.Minute); errors.Is(err, etcd.ErrDenied) && time.Now().Before(end); {
		err = get() // the client has connected once more before the file was gone
	}
	fixture.WantError(t, err, etcd.ErrUnreachable, old.File("ca.crt"), "etcd-tls-files")
	copyFile(t, renewed.File("ca.crt"), old.File("ca.crt"))
	if err := get(); err != nil {
		t.Error(err)
	}
}

// copyFile puts a copy of a file in place of another.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t, []string{"server"}, []string{"client"}), newAuthority(t, nil, []string{"client"})
	// All addresses: only possible with TLS.
	e := fixture.StartEtcd(t, embedded.Config{
		Listen:   "0.0.0.0:0",
		CertFile: ca.File("server.crt"), KeyFile: ca.File("server.key"), TrustedCAFile: ca.File("ca.crt"),
	})
	_, port, err := net.SplitHostPort(e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	good := etcd.Config{
		Endpoints: []string{"https://127.0.0.1:" + port},
		CACert:    ca.File("ca.crt"), Cert: ca.File("client.crt"), Key: ca.File("client.key"), Log: fixture.Log(t),
	}
	for _, endpoint := range []string{good.Endpoints[0], "127.0.0.1:" + port} {
		cfg := good
		cfg.Endpoints = []string{endpoint}
		client, err := etcd.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(t.Context(), "key", "value"); err != nil {
			t.Error(err)
		}
		if _, err := etcd.ReadSpace(t.Context(), client); err != nil {
			t.Error(err)
		}
		client.Close()
	}

	for name, test := range map[string]struct {
		change      func(*etcd.Config)
		kind        error
		words, hint string
	}{
		"wrong CA": {
			func(c *etcd.Config) { c.CACert = other.File("ca.crt") },
			etcd.ErrDenied, "signed by unknown authority", "etcd-ca",
		},
		"no client certificate": {
			func(c *etcd.Config) { c.Cert, c.Key = "", "" },
			etcd.ErrDenied, "certificate required", "etcd-certificate-missing",
		},
		"client certificate of another CA": {
			func(c *etcd.Config) { c.Cert, c.Key = other.File("client.crt"), other.File("client.key") },
			etcd.ErrDenied, "tls: ", "etcd-certificate-refused",
		},
		"name that is not in the certificate": {
			func(c *etcd.Config) { c.Endpoints = []string{"https://127.0.0.2:" + port} },
			etcd.ErrDenied, "certificate is valid for 127.0.0.1", "endpoint",
		},
		"plain": {
			func(c *etcd.Config) {
				c.Endpoints, c.CACert, c.Cert, c.Key = []string{"http://127.0.0.1:" + port}, "", "", ""
			},
			etcd.ErrUnreachable, "http://127.0.0.1:" + port, "https:// and its CA (etcd-not-plain)",
		},
		"plain with TLS files": {
			func(c *etcd.Config) { c.Endpoints = []string{"http://127.0.0.1:" + port} },
			nil, "is plain HTTP", "etcd-tls-files-unused",
		},
		"certificate without key": {
			func(c *etcd.Config) { c.Key = "" }, nil, "together", "etcd-certificate-half",
		},
		"no CA file": {
			func(c *etcd.Config) { c.CACert = ca.File("none") }, nil, ca.File("none"), "",
		},
		"key as CA": {
			func(c *etcd.Config) { c.CACert = ca.File("ca.key") }, nil, "no PEM certificate", "",
		},
		"key of another certificate": {
			func(c *etcd.Config) { c.Key = ca.File("server.key") }, nil, ca.File("server.key"), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			client, err := etcd.Dial(t.Context(), cfg)
			if err == nil {
				client.Close()
			}
			fixture.WantError(t, err, test.kind, test.words, test.hint)
		})
	}
}
