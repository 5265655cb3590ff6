package session

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"refship/deploy/fixture"
)

// A renewed certificate counts at the next connection. Between its file and that of its key the one before goes on.
func TestCertificateIsRenewed(t *testing.T) {
	ca, err := fixture.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		if err := ca.Issue(name, true); err != nil {
			t.Fatal(err)
		}
	}
	certFile, keyFile := ca.File("first.crt"), ca.File("first.key")
	journal := fixture.NewJournal(t)
	certificate, err := LoadCertificate(certFile, keyFile, slog.New(journal))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Listener = tls.NewListener(server.Listener, certificate.Config())
	server.Start()
	t.Cleanup(server.Close)
	text, err := os.ReadFile(ca.File("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	want := func(name string) {
		t.Helper()
		conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{RootCAs: roots})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
			t.Errorf("got the certificate %s, want %s", got, name)
		}
	}
	want("first")
	if err := os.Rename(ca.File("second.crt"), certFile); err != nil {
		t.Fatal(err)
	}
	want("first")
	want("first")
	if said := journal.About("the certificate was changed, and the one before goes on"); len(said) != 1 {
		t.Errorf("said: %v", said)
	}
	if err := os.Rename(ca.File("second.key"), keyFile); err != nil {
		t.Fatal(err)
	}
	want("second")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	want("second")
}

func TestLoadCertificateRefuses(t *testing.T) {
	ca, err := fixture.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Issue("server", true); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][2]string{
		{ca.File("server.crt"), ca.File("ca.key")}, {ca.File("server.key"), ca.File("server.crt")},
		{ca.File("none"), ca.File("server.key")}, {ca.File("server.crt"), "/dev/zero"}, {t.TempDir(), ca.File("server.key")},
	} {
		if _, err := LoadCertificate(files[0], files[1], slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%v are taken", files)
		}
	}
}
