package keys

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
)

// Signers are a key that signs, and the one that is to follow it.
type Signers struct {
	Now  ssh.Signer
	Next ssh.Signer // nil: none is to follow
}

// NextPath is where the key is that is to follow the one at path.
func NextPath(path string) string { return path + ".next" }

// LoadOwnSigners reads the key at a path as LoadOwn does, and the one that is to follow it, if there is one. While that
// takes its place, both may be the same: then none follows.
func LoadOwnSigners(path string) (Signers, error) { return own.loadSigners(path) }

// LoadSigners is LoadOwnSigners as Load reads a key.
func LoadSigners(path string) (Signers, error) { return given.loadSigners(path) }

func (s source) loadSigners(path string) (Signers, error) {
	next, err := s.load(NextPath(path)) // first: afterwards it may have taken the other's place
	if errors.Is(err, fs.ErrNotExist) {
		next, err = nil, nil
	}
	var now ssh.Signer
	if err == nil {
		now, err = s.load(path)
	}
	if err != nil {
		return Signers{}, fmt.Errorf("load private key: %w", err)
	}
	if next != nil && sameKey(next.PublicKey(), now.PublicKey()) {
		next = nil
	}
	return Signers{now, next}, nil
}

// Replace puts the key that is to follow the one at path in its place, which takes that one away for good. A crash
// leaves the one key or the other; the public half beside it may be the new one too early.
func Replace(path string) error {
	next, err := LoadOwn(NextPath(path))
	if err != nil {
		return err
	}
	public, err := disk.ReadFile(NextPath(path)+".pub", maxLine)
	if errors.Is(err, fs.ErrNotExist) { // a crash came between
		public, err = ssh.MarshalAuthorizedKey(next.PublicKey()), nil
	}
	if err == nil {
		err = disk.WriteFile(path+".pub", public, 0o644)
	}
	if err == nil {
		err = disk.Rename(NextPath(path), path)
	}
	if err == nil {
		err = disk.Remove(NextPath(path) + ".pub")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace private key: %w", err)
	}
	return nil
}
