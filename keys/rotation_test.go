package keys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestReplace: from one key to the next, with what a crash leaves at each point.
func TestReplace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := LoadOwnSigners(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a key: %v", err)
	}
	old, err := LoadOrCreate(path, "old", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	is := func(now, next ssh.Signer) {
		t.Helper()
		for name, load := range map[string]func(string) (Signers, error){"own": LoadOwnSigners, "given": LoadSigners} {
			s, err := load(path)
			if err != nil || !sameKey(s.Now.PublicKey(), now.PublicKey()) || (s.Next == nil) != (next == nil) ||
				next != nil && !sameKey(s.Next.PublicKey(), next.PublicKey()) {
				t.Errorf("%s: got %+v, %v", name, s, err)
			}
		}
	}
	is(old, nil)
	if err := Replace(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a next key: %v", err)
	}
	is(old, nil)
	next, err := LoadOrCreate(NextPath(path), "next", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	is(old, next)

	// The public half was lost on the way.
	if err := os.Remove(NextPath(path) + ".pub"); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path); err != nil {
		t.Fatal(err)
	}
	is(next, nil)
	public, err := os.ReadFile(path + ".pub")
	if err != nil || !bytes.Equal(public, ssh.MarshalAuthorizedKey(next.PublicKey())) {
		t.Errorf("public half is %q, %v", public, err)
	}

	// A crash came after the key had its new place, and left the public half at the old one.
	if err := os.WriteFile(NextPath(path)+".pub", public, 0o600); err != nil {
		t.Fatal(err)
	}
	is(next, nil)
	third, err := LoadOrCreate(NextPath(path), "third", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	is(next, third)
	if err := Replace(path); err != nil {
		t.Fatal(err)
	}
	is(third, nil)

	// While it takes the place, it is seen at both.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(NextPath(path), text, 0o600); err != nil {
		t.Fatal(err)
	}
	is(third, nil)

	// A next key that others can read signs nothing.
	if err := os.Chmod(NextPath(path), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOwnSigners(path); err == nil {
		t.Error("a key that others can read was taken")
	}
}
