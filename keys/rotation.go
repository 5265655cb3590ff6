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

// LoadSigners reads the key at a path, and the one that is to follow it, if there is one. A group may share them. While
// the one takes the other's place, both may be the same: then none follows.
func LoadSigners(path string) (Signers, error) {
	next, err := Load(NextPath(path)) // first: afterwards it may have taken the other's place
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Signers{}, err
	}
	now, err := Load(path)
	if err != nil {
		return Signers{}, err
	}
	if next != nil && ssh.FingerprintSHA256(next.PublicKey()) == ssh.FingerprintSHA256(now.PublicKey()) {
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
