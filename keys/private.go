package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
)

// maxPrivateKey bounds what is read as a private key, in bytes: the largest RSA keys have some 13,000.
const maxPrivateKey = 1 << 20

// LoadOrCreate reads an OpenSSH private key, or makes an ed25519 one (0600, synced, with .pub beside it). A crash
// leaves no key or a whole one, and of two processes that find none, both get the one that is kept. A key that group
// or others may read, and one that is encrypted, are refused. The comment goes into a new key only.
func LoadOrCreate(path, comment string) (ssh.Signer, error) {
	signer, err := own.load(path)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = create(path, comment)
	}
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
	own   = source{0o077, "group or others may use it", ", or move it away and a new one is made"}
	given = source{0o007, "others may use it", ", or name another key"}
)

func (s source) load(path string) (ssh.Signer, error) {
	f, err := openGuarded(path, s.forbidden, s.why)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	text, err := io.ReadAll(io.LimitReader(f, maxPrivateKey))
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	var encrypted *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &encrypted):
		return nil, withRemedy("remove the passphrase with ssh-keygen -p -N '' -f "+path+s.otherwise,
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
func create(path, comment string) (ssh.Signer, error) {
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
	_, private, err := ed25519.GenerateKey(rand.Reader)
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
