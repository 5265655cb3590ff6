package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
)

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "keys", "host_key")
	made, err := LoadOrCreate(path, "refship host key", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]fs.FileMode{path: 0o600, path + ".pub": 0o644,
		filepath.Dir(path): 0o700 | fs.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode(), mode, err)
		}
	}
	if got, want := readFile(t, path+".pub"), keyText(made.PublicKey())+" refship host key\n"; got != want {
		t.Errorf("public half is %q, want %q", got, want)
	}
	// The stock program reads it, and finds the same key and comment in it.
	if got, want := sshKeygen(t, "-y", "-f", path), keyText(made.PublicKey())+" refship host key\n"; got != want {
		t.Errorf("ssh-keygen reads %q, want %q", got, want)
	}
	text := readFile(t, path)
	loaded, err := LoadOrCreate(path, "another comment", Ed25519)
	if err != nil || !sameKey(loaded.PublicKey(), made.PublicKey()) || readFile(t, path) != text {
		t.Errorf("the second call did not load the first one's key: %v", err)
	}
}

func TestLoadOrCreateReadsStockKeys(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		path := keygen(t, kind)
		signer, err := LoadOrCreate(path, "", Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		if want := readFile(t, path+".pub"); keyText(signer.PublicKey())+" me@home\n" != want {
			t.Errorf("%s is loaded as %s", want, keyText(signer.PublicKey()))
		}
	}
}

func TestLoadOrCreateRefuses(t *testing.T) {
	ed := readFile(t, keygen(t, "ed25519"))
	encrypted := filepath.Join(t.TempDir(), "id")
	sshKeygen(t, "-q", "-t", "ed25519", "-N", "secret", "-f", encrypted)
	for _, c := range []struct {
		what, text      string
		mode            fs.FileMode
		message, remedy string
	}{
		{"group may read", ed, 0o640, "has mode 0640: group or others may use it", "chmod 600 "},
		{"others may read", ed, 0o604, "has mode 0604: group or others may use it", "chmod 600 "},
		{"all may write", ed, 0o666, "has mode 0666", "chmod 600 "},
		{"encrypted", readFile(t, encrypted), 0o600, "is encrypted", "ssh-keygen -p -N '' -f "},
		{"empty", "", 0o600, "is no private key", "backup"},
		{"half", ed[:len(ed)/2], 0o600, "is no private key", "backup"},
		{"public", readFile(t, encrypted+".pub"), 0o600, "is no private key", "backup"},
		{"weak", readFile(t, keygen(t, "rsa", "-b", "1024")), 0o600, "too weak", "ssh-keygen -t ed25519"},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			writeFile(t, path, c.text, c.mode)
			signer, err := LoadOrCreate(path, "", Ed25519)
			fixture.WantError(t, err, nil, c.message, c.remedy)
			if signer != nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, error %q without the path", signer, err)
			}
			if readFile(t, path) != c.text {
				t.Error("the file changed")
			}
		})
	}
	dir := t.TempDir()
	_, err := LoadOrCreate(dir, "", Ed25519)
	if err == nil || !strings.Contains(err.Error(), "is a directory, not a file") {
		t.Errorf("a directory gives %v", err)
	}
	path := filepath.Join(dir, "key")
	if _, err := LoadOrCreate(path, "two\nlines", Ed25519); err == nil {
		t.Error("a comment of two lines is taken")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the refused comment left a key: %v", err)
	}
}

// TestPassphraseHintWorks runs what the remedy for an encrypted key says, but for the old passphrase.
func TestPassphraseHintWorks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "id")
	sshKeygen(t, "-q", "-t", "ed25519", "-N", "secret", "-f", path)
	sshKeygen(t, "-q", "-p", "-P", "secret", "-N", "", "-f", path)
	if _, err := LoadOrCreate(path, "", Ed25519); err != nil {
		t.Error(err)
	}
}

// TestLeftoversOfACrash: a public half without its private one, a temporary file and a lock file do not stop a new key.
func TestLeftoversOfACrash(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	temporary := []string{".key.1.refship-tmp", ".key.pub.2.refship-tmp"}
	for _, name := range append([]string{"key.pub", "key.lock"}, temporary...) {
		writeFile(t, filepath.Join(dir, name), "half of someth", 0o600)
	}
	signer, err := LoadOrCreate(path, "", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, path+".pub"); got != keyText(signer.PublicKey())+"\n" {
		t.Errorf("public half is %q", got)
	}
	for _, name := range temporary {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

// TestProcessesAgreeOnOneKey starts several processes that all find no key.
func TestProcessesAgreeOnOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	const processes = 6
	results := make(chan string, processes)
	for i := range processes {
		cmd := childCommand(t, "load", path, fmt.Sprint("process ", i), 1)
		go func() {
			out, err := cmd.Output()
			results <- fmt.Sprint(strings.TrimSpace(string(out)), err)
		}()
	}
	signer, err := LoadOrCreate(path, "the test", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(ssh.FingerprintSHA256(signer.PublicKey()), error(nil))
	for range processes {
		if got := <-results; got != want {
			t.Errorf("another process has %s, want %s", got, want)
		}
	}
}
