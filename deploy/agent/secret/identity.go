package secret

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// maxIdentity is the longest file of identities, in bytes.
const maxIdentity = 1 << 20

// Identity is what a node decrypts with.
type Identity struct {
	Recipients []string // "age1…" or "ssh-ed25519 AAAA…", one for each key
	identities []age.Identity
}

// Read reads a file of age identities, or a private key of SSH without a passphrase.
func Read(path string) (*Identity, error) {
	text, err := disk.ReadFile(path, maxIdentity)
	if err != nil {
		return nil, fmt.Errorf("read age identity: %w", err)
	}
	id, err := parse(text)
	if err != nil {
		return nil, &fault.Error{
			Kind: fault.Failed, What: fmt.Sprintf("read age identity: %s: %v", path, err),
			Remedy: "it is a file of age-keygen, or a private key of SSH without a passphrase",
		}
	}
	return id, nil
}

// ReadOrMake is Read. It makes the file, with an age identity, where it is missing.
func ReadOrMake(path string) (*Identity, error) {
	id, err := Read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	made, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make age identity: %w", err)
	}
	text := "# public key: " + made.Recipient().String() + "\n" + made.String() + "\n"
	if err := disk.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("make age identity: %w", err)
	}
	return parse([]byte(text))
}

func parse(text []byte) (*Identity, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")) {
		return parseSSH(text)
	}
	all, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	id := &Identity{identities: all}
	for _, one := range all {
		switch one := one.(type) {
		case *age.X25519Identity:
			id.Recipients = append(id.Recipients, one.Recipient().String())
		case *age.HybridIdentity:
			id.Recipients = append(id.Recipients, one.Recipient().String())
		}
	}
	return id, nil
}

// Fingerprint is "SHA256:…" of a recipient, as ssh-keygen -l prints it of a key of SSH; of one of age it is over its
// text. The error says that it is no recipient.
func Fingerprint(recipient string) (string, error) {
	if strings.HasPrefix(recipient, "ssh-") {
		if _, err := agessh.ParseRecipient(recipient); err != nil {
			return "", err
		}
		key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(recipient))
		if err != nil || len(rest) > 0 {
			return "", errors.New("it is no public key of SSH")
		}
		return ssh.FingerprintSHA256(key), nil
	}
	if _, err := age.ParseRecipients(strings.NewReader(recipient)); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(recipient))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]), nil
}

func parseSSH(text []byte) (*Identity, error) {
	one, err := agessh.ParseIdentity(text)
	var protected *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &protected):
		return nil, errors.New("the key has a passphrase")
	case err != nil:
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	return &Identity{Recipients: []string{public}, identities: []age.Identity{one}}, nil
}
