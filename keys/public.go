package keys

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// minRSABits is the least size of an RSA modulus, in bits.
const minRSABits = 2048

const strongRemedy = "make a new key with ssh-keygen -t ed25519"

// ParsePublicKey parses the text of a public key file as ssh-keygen writes it: one line of type, base64 and comment,
// with blank lines and # lines around it ignored. Everything else gets its own error with a remedy: a private key, a
// line with options, several keys, no text at all, a certificate, other formats, a weak key.
func ParsePublicKey(text []byte) (pub ssh.PublicKey, comment string, err error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if err := refuseOtherFormat(text); err != nil {
		return nil, "", err
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			found = append(found, line)
		}
	}
	const oneRemedy = "give one public key, one line such as ~/.ssh/id_ed25519.pub holds"
	if len(found) == 0 {
		return nil, "", withRemedy(oneRemedy, "parse public key: it is empty")
	}
	parsed := 0
	for _, line := range found {
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil {
			parsed++
		}
	}
	if parsed > 1 {
		return nil, "", withRemedy("give one at a time", "parse public key: there are %d keys", parsed)
	}
	if len(found) > 1 {
		return nil, "", withRemedy(oneRemedy, "parse public key: there are %d lines", len(found))
	}
	if err := checkText(found[0]); err != nil {
		return nil, "", withRemedy(oneRemedy, "parse public key: %w", err)
	}
	pub, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(found[0]))
	if err != nil {
		return nil, "", withRemedy(oneRemedy, "parse public key: %w", noKeyError(found[0]))
	}
	if len(options) > 0 {
		return nil, "", withRemedy("give the key alone: type, base64, comment; what it may do is said by rules",
			"parse public key: it has options (%s)", strings.Join(options, ","))
	}
	if err := checkPublicKey(pub); err != nil {
		return nil, "", fmt.Errorf("parse public key: %w", err)
	}
	return pub, comment, nil
}

// refuseOtherFormat recognises files that are no OpenSSH public key but are easily taken for one.
func refuseOtherFormat(text []byte) error {
	has := func(s string) bool { return bytes.Contains(text, []byte(s)) }
	switch {
	case has("PRIVATE KEY-----") || has("PuTTY-User-Key-File"):
		return withRemedy("keep it to yourself; give the public key, the file beside it that ends in .pub "+
			"(ssh-keygen -y -f FILE prints it)", "parse public key: this is a private key")
	case has("BEGIN SSH2 PUBLIC KEY"):
		return withRemedy("convert it with ssh-keygen -i -f FILE", "parse public key: this is the format of RFC 4716")
	case has("BEGIN PUBLIC KEY-----"):
		return withRemedy("convert it with ssh-keygen -i -m PKCS8 -f FILE",
			"parse public key: this is a PKCS8 public key")
	case has("BEGIN RSA PUBLIC KEY-----"):
		return withRemedy("convert it with ssh-keygen -i -m PEM -f FILE", "parse public key: this is a PEM public key")
	case has("BEGIN CERTIFICATE-----"):
		return withRemedy("give an OpenSSH public key, such as ~/.ssh/id_ed25519.pub",
			"parse public key: this is an X.509 certificate")
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		return withRemedy("save it as UTF-8, or give the file that ssh-keygen wrote",
			"parse public key: this is UTF-16 text")
	}
	return nil
}

// checkPublicKey lets only those keys in that OpenSSH trusts today.
func checkPublicKey(pub ssh.PublicKey) error {
	if cert, ok := pub.(*ssh.Certificate); ok {
		return withRemedy("give the plain key, the .pub file without -cert",
			"%s is a certificate, and those are not supported", cert.Type())
	}
	switch kind := pub.Type(); {
	case !isSupported(kind):
		return withRemedy(strongRemedy, "key type %q is not supported", kind)
	case kind == ssh.KeyAlgoRSA:
		bits, err := rsaBits(pub)
		if err != nil {
			return err
		}
		if bits < minRSABits {
			return withRemedy(strongRemedy, "RSA key of %d bits is too weak, the least is %d", bits, minRSABits)
		}
	}
	return nil
}

// isSupported tells whether keys of this type may be used.
func isSupported(kind string) bool {
	switch kind {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA:
		return true
	}
	return false
}

func rsaBits(pub ssh.PublicKey) (int, error) {
	if holder, ok := pub.(ssh.CryptoPublicKey); ok {
		if key, ok := holder.CryptoPublicKey().(*rsa.PublicKey); ok {
			return key.N.BitLen(), nil
		}
	}
	return 0, errors.New("RSA key does not tell its size")
}
