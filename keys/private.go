package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/text"
)

// maxPrivateKey bounds what is read as a private key, in bytes: the largest RSA keys have some 13,000.
const maxPrivateKey = 1 << 20

// Kind is what a new key is of.
type Kind int

const (
	Ed25519 Kind = iota
	ECDSA        // of the curve P-256: for programs that know no ed25519
)

func (k Kind) generate() (crypto.Signer, error) {
	if k == ECDSA {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}

// LoadOrCreate reads an OpenSSH private key of any kind, or makes one of this kind (0600, synced, with .pub beside it).
// A crash leaves no key or a whole one, and of two processes that find none, both get the one that is kept. A key that
// group or others may read, and one that is encrypted, are refused. The comment goes into a new key only.
func LoadOrCreate(path, comment string, kind Kind) (ssh.Signer, error) {
	signer, err := own.load(path)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = create(path, comment, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("load private key: %w", err)
	}
	return signer, nil
}

// LoadOwn reads a key as LoadOrCreate does, but it makes none: a missing one is fs.ErrNotExist.
func LoadOwn(path string) (ssh.Signer, error) {
	signer, err := own.load(path)
	if err != nil {
		return nil, fmt.Errorf("load private key: %w", err)
	}
	return signer, nil
}

// Load reads an OpenSSH private key that its caller was given: as LoadOrCreate does, but it makes none, and a group
// may share it.
func Load(path string) (ssh.Signer, error) {
	signer, err := given.load(path)
	if err != nil {
		return nil, fmt.Errorf("load private key: %w", err)
	}
	return signer, nil
}

// source says whose keys are read.
type source struct {
	forbidden fs.FileMode // mode bits that no file of them may have
	why       string
	otherwise string // what else helps if one is unusable
}

var (
	own   = source{0o077, "group or others may use it", ", or move it away and make a new one"}
	given = source{0o007, "others may use it", ", or name another key"}
)

func (s source) load(path string) (ssh.Signer, error) {
	f, err := openGuarded(path, s.forbidden, s.why)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	content, err := io.ReadAll(io.LimitReader(f, maxPrivateKey))
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(content)
	var encrypted *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &encrypted):
		return nil, withRemedy("remove the passphrase with ssh-keygen -p -N '' -f "+text.Quote(path)+s.otherwise,
			"%s is encrypted, and its passphrase cannot be typed here", path)
	case err != nil:
		return nil, withRemedy("restore it from a backup"+s.otherwise, "%s is no private key: %w", path, err)
	}
	if err := checkPublicKey(signer.PublicKey()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return signer, nil
}

// create makes the key, unless another process has made it meanwhile. The private half comes last: once it is there,
// all is there.
func create(path, comment string, kind Kind) (ssh.Signer, error) {
	if err := checkText(comment); err != nil {
		return nil, fmt.Errorf("comment %q: %w", comment, err)
	}
	unlock, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if signer, err := own.load(path); !errors.Is(err, fs.ErrNotExist) {
		return signer, err
	}
	private, err := kind.generate()
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, err
	}
	public := ssh.MarshalAuthorizedKey(signer.PublicKey())
	if comment != "" {
		public = fmt.Appendf(public[:len(public)-1], " %s\n", comment)
	}
	if err := disk.WriteFile(path+".pub", public, 0o644); err != nil {
		return nil, err
	}
	if err := disk.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return signer, nil
}
