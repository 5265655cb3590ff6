package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
	"refship/keys"
)

// A server's own key counts, the file beside it adds others, and --allowed-signers replaces both.
func TestWhoseSignaturesCount(t *testing.T) {
	dir := dataDir{path: t.TempDir()}
	var said bytes.Buffer
	a := &app{stderr: &said}
	var flag signersFlag
	if allowed, err := flag.signers(a, dir); allowed != nil || err != nil {
		t.Fatalf("an empty data directory says %v, %v", allowed, err)
	}
	others, given := fixture.Signer(1).PublicKey(), fixture.Signer(2).PublicKey()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line := func(pub ssh.PublicKey) string {
		return (&keys.Signer{Principals: "ci", Namespaces: "*", PublicKey: pub}).Line()
	}
	want := func(counts map[string]bool) {
		t.Helper()
		allowed, err := flag.signers(a, dir)
		if err != nil {
			t.Fatal(err)
		}
		for fingerprint, want := range counts {
			if _, err := allowed.Judge(keys.Namespace, fingerprint, time.Now()); (err == nil) != want {
				t.Errorf("%s: %v, want %v", fingerprint, err, want)
			}
		}
	}
	write(dir.allowedSigners(), line(others)+"ci restrict "+strings.TrimPrefix(line(given), "ci "))
	signer, err := dir.signingKey().loadOrCreate("here")
	if err != nil {
		t.Fatal(err)
	}
	own := ssh.FingerprintSHA256(signer.PublicKey())
	want(map[string]bool{
		own: true, ssh.FingerprintSHA256(others): true, ssh.FingerprintSHA256(given): false,
	})
	const unusable = `/allowed_signers:2: unknown option "restrict"` + "\nrefship: hint: the options are "
	if text := said.String(); !strings.HasPrefix(text, "refship: warning: ") || !strings.Contains(text, unusable) {
		t.Errorf("said %q", text)
	}
	flag.AllowedSigners = filepath.Join(t.TempDir(), "file")
	if _, err := flag.signers(a, dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	write(flag.AllowedSigners, line(given))
	want(map[string]bool{
		own: false, ssh.FingerprintSHA256(others): false, ssh.FingerprintSHA256(given): true,
	})
}

// The file may be named in the environment, as what says how to read may.
func TestAllowedSignersFromTheEnvironment(t *testing.T) {
	parser, err := kong.New(new(signersFlag), kong.Name("test"))
	if err != nil {
		t.Fatal(err)
	}
	flag := parser.Model.Flags[len(parser.Model.Flags)-1]
	if name := envName(flag); name != "REFSHIP_ALLOWED_SIGNERS" || !flag.Tag.Has("variable") {
		t.Errorf("--%s has the variable %s: %v", flag.Name, name, flag.Tag.Has("variable"))
	}
}
