package keys

import (
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
)

func TestParsePublicKey(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		path := keygen(t, kind)
		text := readFile(t, path+".pub")
		for _, text := range []string{
			text, strings.TrimSpace(text), "\n# mine\n" + text + "\n", strings.ReplaceAll(text, "\n", "\r\n"),
			"\xef\xbb\xbf" + text,
		} {
			pub, comment, err := ParsePublicKey([]byte(text))
			if err != nil || comment != "me@home" {
				t.Fatalf("%q: comment %q, %v", text, comment, err)
			}
			if !strings.HasPrefix(readFile(t, path+".pub"), keyText(pub)+" ") {
				t.Errorf("%q is read as %s", text, keyText(pub))
			}
		}
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	ed, rsa := keygen(t, "ed25519"), keygen(t, "rsa")
	pub := readFile(t, ed+".pub")
	pemKey := keygen(t, "rsa", "-m", "PEM")
	pkcs8Key := keygen(t, "rsa", "-m", "PKCS8")
	for _, c := range []struct{ what, text, message, remedy string }{
		{"private key", readFile(t, ed), "this is a private key", "ends in .pub"},
		{"private key, PEM", readFile(t, pemKey), "this is a private key", "ends in .pub"},
		{"private key, PKCS8", readFile(t, pkcs8Key), "this is a private key", "ends in .pub"},
		{"private key, PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\n", "this is a private key", "ends in .pub"},
		{"RFC 4716", sshKeygen(t, "-e", "-f", ed+".pub"), "RFC 4716", "ssh-keygen -i -f FILE"},
		{"PKCS8", sshKeygen(t, "-e", "-m", "PKCS8", "-f", rsa+".pub"), "PKCS8", "ssh-keygen -i -m PKCS8 -f FILE"},
		{"PEM", sshKeygen(t, "-e", "-m", "PEM", "-f", rsa+".pub"), "PEM", "ssh-keygen -i -m PEM -f FILE"},
		{"X.509", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "X.509", "OpenSSH public key"},
		{"UTF-16", "\xff\xfes\x00s\x00h\x00", "UTF-16", "UTF-8"},
		{"empty", "", "it is empty", "one public key"},
		{"blank", "\n \t\r\n# nothing\n", "it is empty", "one public key"},
		{"options", `from="10.*",no-pty ` + pub, `it has options (from="10.*",no-pty)`, "the key alone"},
		{"our options", `name="alice",allow="admin" ` + pub, "it has options", "said by rules"},
		{"several", pub + readFile(t, rsa+".pub"), "there are 2 keys", "one at a time"},
		{"the same twice", pub + pub, "there are 2 keys", "one at a time"},
		{"a key and more", pub + "and more\n", "there are 2 lines", "one public key"},
		{"a key cut in two", pub[:30] + "\n" + pub[30:], "there are 2 lines", "one public key"},
		{"half a key", pub[:40], "parse public key: the key of the type ssh-ed25519 is damaged, or cut short",
			"one public key"},
		{"garbage", "hello world, this is no key", `parse public key: "hello" is no key type, such as ssh-ed25519`,
			"one public key"},
		{"binary", "\x7fELF\x02\x01\x01\x00\x00\x00", "parse public key", "one public key"},
		{"escape in the comment", strings.TrimSpace(pub) + "\x1b[31m\n", "control character", "one public key"},
	} {
		t.Run(c.what, func(t *testing.T) {
			key, comment, err := ParsePublicKey([]byte(c.text))
			fixture.WantError(t, err, nil, c.message, c.remedy)
			if key != nil || comment != "" {
				t.Errorf("gave %v %q all the same", key, comment)
			}
			if strings.Contains(err.Error()+fault.RemedyOf(err), "BEGIN OPENSSH PRIVATE") {
				t.Error("the message shows the private key")
			}
		})
	}
}

// TestHintsWork runs what the hints say.
func TestHintsWork(t *testing.T) {
	path := keygen(t, "rsa")
	want, _, err := ParsePublicKey([]byte(sshKeygen(t, "-y", "-f", path)))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"RFC4716", "PKCS8", "PEM"} {
		other := t.TempDir() + "/key"
		writeFile(t, other, sshKeygen(t, "-e", "-m", format, "-f", path+".pub"), 0o600)
		got, _, err := ParsePublicKey([]byte(sshKeygen(t, "-i", "-m", format, "-f", other)))
		if err != nil || !sameKey(got, want) {
			t.Errorf("%s: %v, %v", format, got, err)
		}
	}
}
