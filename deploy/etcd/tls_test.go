package etcd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"refship/deploy/etcd"
)

// authority is a CA for one test; its files lie in dir.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.key = newKey(t)
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.write(t, "ca", a.cert, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// write signs cert and leaves NAME.crt and NAME.key.
func (a *authority) write(t *testing.T, name string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// issue leaves NAME.crt and NAME.key for a server at ip, or a client.
func (a *authority) issue(t *testing.T, name string, usage x509.ExtKeyUsage, ip string) {
	t.Helper()
	a.write(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.ParseIP(ip)},
	}, newKey(t))
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	ca.issue(t, "server", x509.ExtKeyUsageServerAuth, "127.0.0.1")
	ca.issue(t, "client", x509.ExtKeyUsageClientAuth, "127.0.0.1")
	other.issue(t, "client", x509.ExtKeyUsageClientAuth, "127.0.0.1")
	// All addresses: only possible with TLS.
	e := start(t, etcd.EmbeddedConfig{
		Listen: "0.0.0.0:0", CertFile: ca.file("server.crt"), KeyFile: ca.file("server.key"), TrustedCAFile: ca.file("ca.crt"),
	})
	_, port, err := net.SplitHostPort(e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	good := etcd.Config{
		Endpoints: []string{"https://127.0.0.1:" + port},
		CACert:    ca.file("ca.crt"), Cert: ca.file("client.crt"), Key: ca.file("client.key"), Log: testLog(t),
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
			func(c *etcd.Config) { c.CACert = other.file("ca.crt") },
			etcd.ErrDenied, "signed by unknown authority", "--cacert",
		},
		"no client certificate": {
			func(c *etcd.Config) { c.Cert, c.Key = "", "" },
			etcd.ErrDenied, "certificate required", "--cert and --key",
		},
		"client certificate of another CA": {
			func(c *etcd.Config) { c.Cert, c.Key = other.file("client.crt"), other.file("client.key") },
			etcd.ErrDenied, "tls: ", "--cert",
		},
		"name that is not in the certificate": {
			func(c *etcd.Config) { c.Endpoints = []string{"https://127.0.0.2:" + port} },
			etcd.ErrDenied, "certificate is valid for 127.0.0.1", "endpoint",
		},
		"plain": {
			func(c *etcd.Config) {
				c.Endpoints, c.CACert, c.Cert, c.Key = []string{"http://127.0.0.1:" + port}, "", "", ""
			},
			etcd.ErrUnreachable, "http://127.0.0.1:" + port, "https://",
		},
		"plain with TLS files": {
			func(c *etcd.Config) { c.Endpoints = []string{"http://127.0.0.1:" + port} },
			nil, "is plain HTTP", "https://",
		},
		"certificate without key": {
			func(c *etcd.Config) { c.Key = "" }, nil, "together", "--key",
		},
		"no CA file": {
			func(c *etcd.Config) { c.CACert = ca.file("none") }, nil, ca.file("none"), "",
		},
		"key as CA": {
			func(c *etcd.Config) { c.CACert = ca.file("ca.key") }, nil, "no PEM certificate", "",
		},
		"key of another certificate": {
			func(c *etcd.Config) { c.Key = ca.file("server.key") }, nil, ca.file("server.key"), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			client, err := etcd.Dial(t.Context(), cfg)
			if err == nil {
				client.Close()
			}
			checkError(t, err, test.kind, test.words, test.hint)
		})
	}
}

func TestTLSFiles(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server", x509.ExtKeyUsageServerAuth, "127.0.0.1")
	cert, key := ca.file("server.crt"), ca.file("server.key")
	for _, test := range []struct{ cert, key, ca, words string }{
		{cert, "", "", "needs TLS with client certificates"}, // also on loopback: half a TLS is none
		{cert, key, "", "needs TLS with client certificates"},
		{cert, ca.file("ca.key"), ca.file("ca.crt"), ca.file("ca.key")},
		{ca.file("none"), key, ca.file("ca.crt"), ca.file("none")},
		{cert, key, ca.file("none"), ca.file("none")},
		{cert, key, key, "no PEM certificate"},
	} {
		_, err := etcd.Start(t.Context(), etcd.EmbeddedConfig{
			Dir: shortDir(t), Listen: "127.0.0.1:0", Log: testLog(t),
			CertFile: test.cert, KeyFile: test.key, TrustedCAFile: test.ca,
		})
		checkError(t, err, nil, test.words, "")
	}
}
