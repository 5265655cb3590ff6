package secret_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"refship/deploy/agent/secret"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// encrypt writes x.age for a recipient, as age -r does.
func encrypt(t *testing.T, path, recipient, content string, armored bool) {
	t.Helper()
	var to age.Recipient
	var err error
	if strings.HasPrefix(recipient, "ssh-") {
		to, err = agessh.ParseRecipient(recipient)
	} else {
		to, err = age.ParseX25519Recipient(recipient)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	var out io.Writer = &b
	end := func() error { return nil }
	if armored {
		w := armor.NewWriter(&b)
		out, end = w, w.Close
	}
	w, err := age.Encrypt(out, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), end()); err != nil {
		t.Fatal(err)
	}
	write(t, path, b.String())
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// files are the regular files below a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		if !strings.HasSuffix(path, ".age") {
			found[path] = string(content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Each kind of identity decrypts what is encrypted for it, large files too, for its owner's eyes only.
func TestDecrypt(t *testing.T) {
	keys := t.TempDir()
	sshKey := filepath.Join(keys, "ssh")
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "node")
	if err != nil {
		t.Fatal(err)
	}
	write(t, sshKey, string(pem.EncodeToMemory(block)))
	for name, load := range map[string]func() (*secret.Identity, error){
		"of its own": func() (*secret.Identity, error) { return secret.ReadOrMake(filepath.Join(keys, "own")) },
		"again":      func() (*secret.Identity, error) { return secret.ReadOrMake(filepath.Join(keys, "own")) },
		"ssh":        func() (*secret.Identity, error) { return secret.Read(sshKey) },
	} {
		t.Run(name, func(t *testing.T) {
			id, err := load()
			if err != nil {
				t.Fatal(err)
			}
			if len(id.Recipients) != 1 {
				t.Fatalf("recipients are %v", id.Recipients)
			}
			dir := t.TempDir()
			large := strings.Repeat("0123456789", 20_000)
			encrypt(t, filepath.Join(dir, "conf/db.age"), id.Recipients[0], "password\n", false)
			encrypt(t, filepath.Join(dir, "large.age"), id.Recipients[0], large, true)
			encrypt(t, filepath.Join(dir, "empty.age"), id.Recipients[0], "", false)
			write(t, filepath.Join(dir, "plain"), "plain")
			made, left, err := id.Decrypt(t.Context(), openRoot(t, dir), false)
			if err != nil || len(left) > 0 {
				t.Fatalf("left %v: %v", left, err)
			}
			want := map[string]string{"conf/db": "password\n", "large": large, "empty": "", "plain": "plain"}
			if diff := cmp.Diff(want, files(t, dir)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, one := range made {
				sum := sha256.Sum256([]byte(want[one.Path]))
				if one.SHA256 != hex.EncodeToString(sum[:]) || one.Size != int64(len(want[one.Path])) {
					t.Errorf("said: %+v", one)
				}
				if info, err := os.Stat(filepath.Join(dir, one.Path)); err != nil || info.Mode() != 0o600 {
					t.Errorf("%s: %v, %v", one.Path, info.Mode(), err)
				}
			}
			if len(made) != 3 {
				t.Errorf("made %v", made)
			}
		})
	}
	if info, err := os.Stat(filepath.Join(keys, "own")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the own key: %v, %v", info.Mode(), err)
	}
}

// What cannot be decrypted refuses the release and leaves nothing; what is for other nodes may be left out.
func TestDecryptRefuses(t *testing.T) {
	id, err := secret.ReadOrMake(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	foreign := other.Recipient().String()
	for name, c := range map[string]struct {
		fill     func(dir string)
		message  string
		left     []string // if optional, "x.age" is left out
		optional bool     // it passes then
	}{
		"for another node": {
			func(dir string) { encrypt(t, filepath.Join(dir, "x.age"), foreign, "x", false) },
			`decrypt x.age: it is not encrypted for this node`, []string{"x.age"}, true,
		},
		"no file of age": {
			func(dir string) { write(t, filepath.Join(dir, "x.age"), "hello") }, "decrypt x.age: ", nil, false,
		},
		"empty": {func(dir string) { write(t, filepath.Join(dir, "x.age"), "") }, "decrypt x.age: ", nil, false},
		"cut off": {
			func(dir string) {
				path := filepath.Join(dir, "x.age")
				encrypt(t, path, id.Recipients[0], strings.Repeat("x", 200_000), false)
				if err := os.Truncate(path, 150_000); err != nil {
					t.Fatal(err)
				}
			}, "decrypt x.age: ", nil, false,
		},
		"beside itself": {
			func(dir string) {
				encrypt(t, filepath.Join(dir, "x.age"), id.Recipients[0], "x", false)
				write(t, filepath.Join(dir, "x"), "mine")
			}, "decrypt x.age: the release has x, too", nil, false,
		},
		"beside a link": {
			func(dir string) {
				encrypt(t, filepath.Join(dir, "x.age"), id.Recipients[0], "x", false)
				if err := os.Symlink("/tmp/elsewhere", filepath.Join(dir, "x")); err != nil {
					t.Fatal(err)
				}
			}, "decrypt x.age: the release has x, too", nil, false,
		},
		"without a name": {
			func(dir string) { encrypt(t, filepath.Join(dir, "d/.age"), id.Recipients[0], "x", false) },
			"decrypt d/.age: it has no name without .age", nil, false,
		},
		"git's own name": {
			func(dir string) { encrypt(t, filepath.Join(dir, "d/.git.age"), id.Recipients[0], "x", false) },
			"decrypt d/.git.age: .git is git's own name, or some file system takes it for that", nil, false,
		},
		"what is taken for git's own name": {
			func(dir string) { encrypt(t, filepath.Join(dir, "GIT~1.age"), id.Recipients[0], "x", false) },
			"decrypt GIT~1.age: GIT~1 is git's own name", nil, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.fill(dir)
			before := files(t, dir)
			_, _, err := id.Decrypt(t.Context(), openRoot(t, dir), false)
			fixture.WantFault(t, fault.Refused, err, c.message, "")
			made, left, err := id.Decrypt(t.Context(), openRoot(t, dir), true)
			if (err == nil) != c.optional || !cmp.Equal(left, c.left) || len(made) > 0 {
				t.Errorf("optional: %v, left %v, made %v", err, left, made)
			}
			if diff := cmp.Diff(before, files(t, dir)); diff != "" {
				t.Errorf("something is left: %s", diff)
			}
		})
	}
}

// A key that is no use is said at once.
func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "word", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for path, content := range map[string]string{
		"nonsense": "hello\n", "empty": "", "recipient": "age1qqqqqqqq\n", "pem": "-----BEGIN RSA PRIVATE KEY-----\n",
	} {
		write(t, filepath.Join(dir, path), content)
		_, err := secret.Read(filepath.Join(dir, path))
		fixture.WantFault(t, fault.Failed, err, "read age identity: ", "it is a file of age-keygen")
	}
	_, err := secret.Read(locked)
	fixture.WantFault(t, fault.Failed, err, "the key has a passphrase", "without a passphrase")
	if _, err := secret.Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A hostile file of age is refused, whatever its bytes are.
func FuzzDecrypt(f *testing.F) {
	f.Add([]byte("age-encryption.org/v1\n-> X25519 x\n"))
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		id, err := secret.ReadOrMake(filepath.Join(dir, "key"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "release/x.age"), string(content))
		_, _, err = id.Decrypt(t.Context(), openRoot(t, filepath.Join(dir, "release")), false)
		if !fault.Is(err, fault.Refused) {
			t.Errorf("%v", err)
		}
		if got := files(t, filepath.Join(dir, "release")); len(got) > 0 {
			t.Errorf("left: %v", got)
		}
	})
}
