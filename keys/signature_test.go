package keys

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
)

const namespace = "refship"

func loadSigner(t *testing.T, path string) ssh.Signer {
	t.Helper()
	signer, err := LoadOrCreate(path, "", Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// stockVerify runs ssh-keygen -Y verify as a reader of a deploy would.
func stockVerify(t *testing.T, pub ssh.PublicKey, message, armored []byte) error {
	t.Helper()
	fixture.Need(t, "ssh-keygen")
	dir := t.TempDir()
	allowed, signature := filepath.Join(dir, "allowed_signers"), filepath.Join(dir, "signature")
	writeFile(t, allowed, `server namespaces="refship" `+keyText(pub)+"\n", 0o600)
	writeFile(t, signature, string(armored), 0o600)
	cmd := exec.CommandContext(t.Context(), "ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "server", "-n",
		namespace, "-s", signature)
	cmd.Stdin = bytes.NewReader(message)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
}

func TestStockProgramVerifies(t *testing.T) {
	message := []byte(`{"format":1,"id":7,"subject":"tune the cache <&> ä"}`)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			signer := loadSigner(t, keygen(t, kind))
			for _, message := range [][]byte{message, nil, bytes.Repeat([]byte{0, 0xff}, 1<<16)} {
				armored, err := Sign(signer, namespace, message)
				if err != nil {
					t.Fatal(err)
				}
				if err := stockVerify(t, signer.PublicKey(), message, armored); err != nil {
					t.Error(err)
				}
				if stockVerify(t, signer.PublicKey(), append(message, '\n'), armored) == nil {
					t.Error("ssh-keygen takes any message")
				}
				if pub, err := Verify(namespace, message, armored); err != nil || !sameKey(pub, signer.PublicKey()) {
					t.Errorf("%v, %v", pub, err)
				}
			}
		})
	}
}

// TestVerifyStockSignatures checks what ssh-keygen signs, whose lines are longer than ours.
func TestVerifyStockSignatures(t *testing.T) {
	for _, hash := range []string{"sha512", "sha256"} {
		for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
			path := keygen(t, kind)
			message := filepath.Join(t.TempDir(), "message")
			writeFile(t, message, "the message", 0o600)
			sshKeygen(t, "-q", "-Y", "sign", "-O", "hashalg="+hash, "-n", namespace, "-f", path, message)
			pub, err := Verify(namespace, []byte("the message"), []byte(readFile(t, message+".sig")))
			if err != nil || !sameKey(pub, loadSigner(t, path).PublicKey()) {
				t.Errorf("%s %s: %v, %v", kind, hash, pub, err)
			}
		}
	}
}

// TestEveryFlippedByteIsRefused changes each byte of message and signature, one at a time; with ed25519 each bit of
// it and all of them.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	message := []byte(`{"format":1,"id":7,"subject":"tune the cache"}`)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			signer := loadSigner(t, keygen(t, kind))
			armored, err := Sign(signer, namespace, message)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(namespace, message, armored); err != nil {
				t.Fatal(err)
			}
			flips := []byte{0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}
			if kind != "ed25519" { // the others take long to check
				flips = []byte{0x01, 0x20}
			}
			for i := range message {
				for _, flip := range flips {
					changed := bytes.Clone(message)
					changed[i] ^= flip
					if pub, err := Verify(namespace, changed, armored); err == nil || pub != nil {
						t.Fatalf("message byte %d flipped by %#x is taken", i, flip)
					}
				}
			}
			for i := range armored {
				for _, flip := range flips {
					changed := bytes.Clone(armored)
					changed[i] ^= flip
					if pub, err := Verify(namespace, message, changed); err == nil || pub != nil {
						t.Fatalf("signature byte %d flipped by %#x is taken", i, flip)
					}
				}
			}
		})
	}
}

// TestUnusedBitsAreRefused: the last character before base64's padding has bits that mean nothing.
func TestUnusedBitsAreRefused(t *testing.T) {
	signer := loadSigner(t, filepath.Join(t.TempDir(), "key"))
	armored, err := Sign(signer, "refship1", nil) // one byte more than namespace, and the length is no multiple of 3
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.IndexByte(armored[len(armorBegin):], '=') + len(armorBegin) - 1
	if !bytes.HasPrefix(armored[last+1:], []byte("==\n")) {
		t.Fatalf("no padding in %s", armored)
	}
	if _, err := Verify("refship1", nil, armored); err != nil {
		t.Fatal(err)
	}
	armored[last]++
	_, err = Verify("refship1", nil, armored)
	fixture.WantError(t, err, nil, "illegal base64", "")
}

// TestAnyOtherByteIsRefused puts any byte in any place of an ed25519 signature.
func TestAnyOtherByteIsRefused(t *testing.T) {
	signer := loadSigner(t, filepath.Join(t.TempDir(), "key"))
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "message")
		armored, err := Sign(signer, namespace, message)
		if err != nil {
			t.Fatal(err)
		}
		place := rapid.IntRange(0, len(armored)-1).Draw(t, "place")
		other := rapid.Byte().Draw(t, "other")
		same := armored[place] == other
		armored[place] = other
		if _, err := Verify(namespace, message, armored); (err == nil) != same {
			t.Fatalf("byte %d changed %v: %v", place, !same, err)
		}
	})
}

func TestVerifyRefuses(t *testing.T) {
	signer := loadSigner(t, filepath.Join(t.TempDir(), "key"))
	message := []byte("message")
	armored, err := Sign(signer, namespace, message)
	if err != nil {
		t.Fatal(err)
	}
	good := string(armored)
	other, err := Sign(signer, "git", message)
	if err != nil {
		t.Fatal(err)
	}
	weakText := readFile(t, keygen(t, "rsa", "-b", "1024"))
	weakSigner, err := ssh.ParsePrivateKey([]byte(weakText))
	if err != nil {
		t.Fatal(err)
	}
	weak, err := Sign(weakSigner, namespace, message)
	if err != nil {
		t.Fatal(err)
	}
	unarmored, err := sshsig.Unarmor(armored)
	if err != nil {
		t.Fatal(err)
	}
	tail, longer := *unarmored, *unarmored.Signature
	longer.Rest = []byte{1}
	tail.Signature = &longer
	reserved := struct { // as in PROTOCOL.sshsig
		Magic                                        [6]byte
		Version                                      uint32
		PublicKey, Namespace, Reserved, Hash, Signed string
	}{[6]byte([]byte("SSHSIG")), 1, string(signer.PublicKey().Marshal()), namespace, "unsigned", "sha512",
		string(ssh.Marshal(unarmored.Signature))}
	for what, c := range map[string]struct{ armored, message string }{
		"reserved field": {string(pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType,
			Bytes: ssh.Marshal(reserved)})), "not in canonical form"},
		"other namespace":       {string(other), "namespace does not match"},
		"weak key":              {string(weak), "too weak"},
		"empty":                 {"", "no armored SSH signature"},
		"text before":           {"x\n" + good, "no armored SSH signature"},
		"text behind":           {good + "x\n", "no armored SSH signature"},
		"twice":                 {good + good, "illegal base64"},
		"newline behind":        {good + "\n", "no armored SSH signature"},
		"no newline at the end": {strings.TrimSuffix(good, "\n"), "no armored SSH signature"},
		"CRLF":                  {strings.ReplaceAll(good, "\n", "\r\n"), "no armored SSH signature"},
		"carriage return":       {strings.Replace(good, "U1N", "U1\rN", 1), "carriage return"},
		"PEM header":            {strings.Replace(good, "-----\n", "-----\nA: b\n\n", 1), "illegal base64"},
		"another kind":          {strings.ReplaceAll(good, "SSH SIGNATURE", "SSH MESSAGE"), "no armored SSH signature"},
		"behind the blob":       {string(sshsig.Armor(&tail)), "behind the signature"},
		"nothing inside":        {armorBegin + armorEnd, "parse error"},
		"only newlines inside":  {armorBegin + "\n\n" + armorEnd, "parse error"},
	} {
		t.Run(what, func(t *testing.T) {
			pub, err := Verify(namespace, message, []byte(c.armored))
			fixture.WantError(t, err, nil, c.message, "")
			if pub != nil {
				t.Error("gave a key all the same")
			}
		})
	}
	if _, err := Sign(signer, "", message); !errors.Is(err, sshsig.ErrMissingNamespace) {
		t.Errorf("signing without namespace gives %v", err)
	}
}
