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
)

// maxPrivateKey bounds what is read as a private key, in bytes: the largest RSA keys have some 13,000.
const maxPrivateKey = 1 << 20

// LoadOrCreate reads an OpenSSH private key, or makes an ed25519 one (0600, synced, with .pub beside it). A crash leaves no
// key or a whole one, and of two processes that find none, both get the one that is kept. A key that group or others may read, and one that
// is encrypted, are refused. The comment goes into a new key only.
func LoadOrCreate(path, comment string) (ssh.Signer, error) {
	signer, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = create(path, comment)
	}
	if err != nil {
		return nil, fmt.Errorf("load private key: %w", err)
	}
	return signer, nil
}

// Load reads an OpenSSH private key, as LoadOrCreate does, and makes none.
func Load(path string) (ssh.Signer, error) {
	signer, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("load private key: %w", err)
	}
	return signer, nil
}

func load(path string) (ssh.Signer, error) {
	f, err := openGuarded(path, 0o077, "group or others may use it")
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
		return nil, withHint("remove the passphrase with ssh-keygen -p -N '' -f "+path+", or move the key away and a new one is made",
			"%s is encrypted, and nobody can type its passphrase here", path)
	case err != nil:
		return nil, withHint("restore it from a backup, or move it away and a new one is made", "%s is no private key: %w", path, err)
	}
	if err := checkPublicKey(signer.PublicKey()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return signer, nil
}

// create makes the key, unless another process has made it meanwhile. The private half comes last: once it is there, all is there.
func create(path, comment string) (ssh.Signer, error) {
	if err := checkText(comment); err != nil {
		return nil, fmt.Errorf("comment %q: %w", comment, err)
	}
	unlock, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if signer, err := load(path); !errors.Is(err, fs.ErrNotExist) {
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
	if err := replace(path+".pub", public, 0o644); err != nil {
		return nil, err
	}
	if err := replace(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return signer, nil
}
