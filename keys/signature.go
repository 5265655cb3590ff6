package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Namespace is the namespace of the signatures over records.
const Namespace = "refship"

// GitNamespace is the namespace of git's own signatures, over commits, tags and push certificates (gpg.format=ssh).
const GitNamespace = "git"

const (
	armorBegin = "-----BEGIN " + sshsig.PEMType + "-----\n"
	armorEnd   = "\n-----END " + sshsig.PEMType + "-----\n"
)

// Sign makes an armored SSH signature (PROTOCOL.sshsig, sha512) that `ssh-keygen -Y verify -n namespace` accepts. The
// namespace is not empty; it keeps a signature for one purpose from being taken for another.
func Sign(signer ssh.Signer, namespace string, message []byte) ([]byte, error) {
	signature, err := sshsig.Sign(bytes.NewReader(message), signer, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, fmt.Errorf("sign message: %w", err)
	}
	return sshsig.Armor(signature), nil
}

// Verify checks an armored SSH signature, by sha256 or sha512 as PROTOCOL.sshsig allows, and gives the key that made
// it; whether that key is trusted is the caller's question. Keys that authorized_keys may not hold (weak ones,
// certificates) are refused here too. Nothing may stand around the armor, and only one text is accepted for a
// signature but for where its lines break.
func Verify(namespace string, message, armored []byte) (ssh.PublicKey, error) {
	signature, err := parseArmored(armored)
	if err == nil {
		err = checkPublicKey(signature.PublicKey)
	}
	if err == nil {
		err = sshsig.Verify(bytes.NewReader(message), signature, signature.PublicKey, signature.HashAlgorithm,
			namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("verify signature: %w", err)
	}
	return signature.PublicKey, nil
}

// IsSSH tells an SSH signature from one of another program.
func IsSSH(armored []byte) bool {
	return bytes.HasPrefix(armored, []byte(strings.TrimSuffix(armorBegin, "\n")))
}

// parseArmored is stricter than encoding/pem, which skips text around the block and headers in it.
func parseArmored(armored []byte) (*sshsig.Signature, error) {
	body, begins := strings.CutPrefix(string(armored), armorBegin)
	body, ends := strings.CutSuffix(body, armorEnd)
	if !begins || !ends {
		return nil, errors.New("it is no armored SSH signature")
	}
	body = strings.ReplaceAll(body, "\n", "")
	if strings.Contains(body, "\r") { // base64 would skip it
		return nil, errors.New("it has carriage returns")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, err
	}
	signature, err := sshsig.ParseSignature(raw)
	if err != nil {
		return nil, err
	}
	// What the parser let pass unseen (reserved fields, other encodings of the same key) is not in the copy.
	if !bytes.Equal(signature.Marshal(), raw) {
		return nil, errors.New("it is not in canonical form")
	}
	// Only security keys have something behind the signature, and they sign it.
	if len(signature.Signature.Rest) > 0 && !strings.HasPrefix(signature.PublicKey.Type(), "sk-") {
		return nil, errors.New("there is something behind the signature")
	}
	return signature, nil
}
