package signed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/keys"
)

// Trust says whose signatures count. The zero Trust trusts nobody.
type Trust struct {
	Allowed func() (*keys.AllowedSigners, error) // nil, or a nil answer: no key is allowed
	Users   func() ([]*keys.Key, error)          // those who may log in; nil: they are not known
	Keyring string                               // path of the OpenPGP keys that gpgv takes; may be missing, or ""
}

// Status is what became of judging a signature.
type Status int

// The states. Only Good satisfies a requirement.
const (
	None      Status = iota // there is no signature
	Good                    // it covers what is signed, by a key that counts
	Unknown                 // it covers what is signed, and its key does not count
	Unchecked               // it cannot be checked here
	Bad                     // it does not cover what is signed
)

// Signature is what was found of one.
type Signature struct {
	Status Status
	Key    string // fingerprint of the key that made it; "" if that is not known
	By     string // whose key that is, for reading; with Good
	Why    string // of the other states, for reading: "is not signed", "is signed, but …"
}

// judge judges a signature of git's over what is signed, at some times. A key of user counts, too, unless that is "".
func (t *Trust) judge(
	ctx context.Context, signed, signature []byte, user string, at ...time.Time,
) (Signature, error) {
	switch {
	case signature == nil:
		return Signature{Status: None, Why: "is not signed"}, nil
	case bytes.HasPrefix(signature, []byte("-----BEGIN PGP SIGNATURE-----")):
		return t.OpenPGP(ctx, signed, signature)
	case !keys.IsSSH(signature):
		return Signature{Status: Unchecked, Why: "has a signature that cannot be checked here"}, nil
	}
	key, err := keys.Verify(keys.GitNamespace, signed, signature)
	if err != nil {
		return Signature{Status: Bad, Why: "has a bad signature: " + err.Error()}, nil
	}
	s := Signature{Status: Unknown, Key: ssh.FingerprintSHA256(key)}
	if user != "" && t.Users != nil {
		all, err := t.Users()
		if err != nil {
			return s, fmt.Errorf("read authorized keys: %w", err)
		}
		for _, k := range all {
			if k.Name == user && k.Fingerprint() == s.Key {
				s.Status, s.By = Good, user
				return s, nil
			}
		}
	}
	allowed, err := t.allowed()
	if err != nil {
		return s, err
	}
	for _, at := range at {
		if s.By, err = allowed.Judge(keys.GitNamespace, s.Key, at); err != nil {
			s.Why = "is signed, but " + err.Error()
			return s, nil
		}
	}
	s.Status = Good
	return s, nil
}

func (t *Trust) allowed() (*keys.AllowedSigners, error) {
	if t.Allowed == nil {
		return new(keys.AllowedSigners), nil
	}
	allowed, err := t.Allowed()
	if allowed == nil && err == nil {
		allowed = new(keys.AllowedSigners)
	}
	return allowed, err
}

const (
	// gpgvTime is how long gpgv may take, and gpgvSays how much of what it says is read, in bytes.
	gpgvTime, gpgvSays = 10 * time.Second, 64 << 10
)

// OpenPGP judges an OpenPGP signature of git's over what is signed, by the keyring alone. It asks gpgv, which takes
// every key of the keyring for trusted, reads no configuration and asks no network.
func (t *Trust) OpenPGP(ctx context.Context, signed, signature []byte) (Signature, error) {
	cannot := Signature{Status: Unchecked, Why: "has an OpenPGP signature, which cannot be checked here"}
	if t.Keyring == "" {
		return cannot, nil
	}
	if _, err := os.Stat(t.Keyring); errors.Is(err, fs.ErrNotExist) {
		return cannot, nil
	} else if err != nil {
		return cannot, fmt.Errorf("look at OpenPGP keys: %w", err)
	}
	program, err := exec.LookPath("gpgv")
	if err != nil {
		cannot.Why += ": there is no gpgv"
		return cannot, nil
	}
	keyring, err := filepath.Abs(t.Keyring) // a name without a slash would be one in gpgv's own directory
	if err != nil {
		return cannot, fmt.Errorf("check OpenPGP signature: %w", err)
	}
	dir, err := os.MkdirTemp("", "refship-gpgv-")
	if err != nil {
		return cannot, fmt.Errorf("check OpenPGP signature: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is temporary
	file := filepath.Join(dir, "signature")
	if err := os.WriteFile(file, signature, 0o600); err != nil {
		return cannot, fmt.Errorf("check OpenPGP signature: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, gpgvTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--homedir", dir, "--keyring", keyring, "--status-fd", "1", "--", file, "-")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C"}
	cmd.Stdin, cmd.WaitDelay = bytes.NewReader(signed), time.Second
	var said bytes.Buffer
	cmd.Stdout = &limited{&said, gpgvSays}
	err = cmd.Run()
	if ctx.Err() != nil {
		return cannot, fmt.Errorf("check OpenPGP signature: %w", context.Cause(ctx))
	}
	return openPGPStatus(said.String(), err == nil), nil
}

// limited keeps the first bytes of what is written.
type limited struct {
	to   *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	_, _ = l.to.Write(p[:n]) // it takes everything
	return len(p), nil
}

// openPGPStatus reads gpgv's status lines (doc/DETAILS of GnuPG). Exactly one signature counts, as git has it.
func openPGPStatus(said string, passed bool) Signature {
	var good, valid, other []string
	for line := range strings.Lines(said) {
		words := strings.Fields(strings.TrimPrefix(line, "[GNUPG:] "))
		if len(words) < 2 || !strings.HasPrefix(line, "[GNUPG:] ") {
			continue
		}
		switch words[0] {
		case "GOODSIG":
			good = append(good, strings.Join(words[2:], " "))
		case "VALIDSIG":
			valid = append(valid, words[1])
		case "BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG":
			other = append(other, words[0])
		case "NO_PUBKEY":
			return Signature{Status: Unknown, Key: words[1],
				Why: "is signed, but the OpenPGP key " + words[1] + " is not an allowed signer"}
		}
	}
	if passed && len(good) == 1 && len(valid) == 1 && len(other) == 0 {
		return Signature{Status: Good, Key: valid[0], By: good[0]}
	}
	return Signature{Status: Bad, Why: "has a bad OpenPGP signature"}
}
