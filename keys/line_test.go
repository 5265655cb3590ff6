package keys

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
)

// keyText is a public key's type and base64.
func keyText(pub ssh.PublicKey) string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(pub)), "\n")
}

func TestParseLine(t *testing.T) {
	pub := fixture.PublicKey()
	for _, text := range []string{
		`name="alice",allow="deploy:web,read:*" ` + keyText(pub) + " alice@laptop, the old one",
		`allow="deploy:web,read:*",name="alice" ` + keyText(pub) + " alice@laptop, the old one\r\n",
		"  \t" + `name="alice",allow="deploy:web,read:*"` + "\t " + keyText(pub) + "\talice@laptop, the old one \n",
	} {
		key, err := parseLine([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if key.Name != "alice" || key.Comment != "alice@laptop, the old one" || !sameKey(key.PublicKey, pub) {
			t.Errorf("%s is read as %+v", text, key)
		}
		if diff := cmp.Diff([]Rule{{Deploy, "web"}, {Read, "*"}}, key.Rules); diff != "" {
			t.Errorf("%s: -want +got:\n%s", text, diff)
		}
		if key.Fingerprint() != ssh.FingerprintSHA256(pub) {
			t.Errorf("fingerprint %s", key.Fingerprint())
		}
	}
	for _, text := range []string{"", "\n", " \t \n", "# a comment",
		`  #name="alice",allow="admin" ` + keyText(pub), "\r\n"} {
		if key, err := parseLine([]byte(text)); key != nil || err != nil {
			t.Errorf("%q gives %v, %v and is a comment", text, key, err)
		}
	}
}

func TestParseLineRefuses(t *testing.T) {
	key := keyText(fixture.PublicKey())
	for _, c := range []struct{ line, message, remedy string }{
		{key + " alice", `option "name" is missing`, `name="…"`},
		{`allow="admin" ` + key, `option "name" is missing`, `name="…"`},
		{`name="alice" ` + key, `option "allow" is missing`, `allow="…"`},
		{`name="alice",allow="" ` + key, "no rules given", "deploy:web"},
		{`name="alice",allow="write:web" ` + key, `unknown action "write"`, "deploy:web"},
		{`name="alice",allow="admin",restrict ` + key, `unknown option "restrict"`, "remove it"},
		{`restrict,name="alice",allow="admin" ` + key, `unknown option "restrict"`, "remove it"},
		{`name="alice",allow="admin",from="10.0.0.*" ` + key, `unknown option "from"`, "remove it"},
		{`name="alice",allow="admin",command="sh -c \"id\"" ` + key, `unknown option "command"`, "remove it"},
		{`cert-authority,name="alice",allow="admin" ` + key, `unknown option "cert-authority"`, "remove it"},
		{`NAME="alice",allow="admin" ` + key, `unknown option "NAME"`, "remove it"},
		{`name="alice",name="bob",allow="admin" ` + key, `option "name" is given twice`, ""},
		{`name="alice",allow="read:x",allow="admin" ` + key, `option "allow" is given twice`, ""},
		{`name=alice,allow="admin" ` + key, `option "name" has no quoted value`, `name="…"`},
		{`name="alice"x,allow="admin" ` + key, `option "name" has no quoted value`, ""},
		{`name,allow="admin" ` + key, `option "name" has no quoted value`, ""},
		{`name="",allow="admin" ` + key, `user name "" is not allowed`, "1 to 64"},
		{`name="a b",allow="admin" ` + key, `user name "a b" is not allowed`, "1 to 64"},
		{`name="al\"ice",allow="admin" ` + key, `user name "al\"ice" is not allowed`, "1 to 64"},
		{`name="-rf",allow="admin" ` + key, `user name "-rf" is not allowed`, "1 to 64"},
		{`name="` + strings.Repeat("a", 65) + `",allow="admin" ` + key, "is not allowed", "1 to 64"},
		{`name="alice,allow="admin" ` + key, "parse key: a quote in the options is not closed", `name="NAME"`},
		{`name="alice",,allow="admin" ` + key, "an option is empty", ""},
		{`,name="alice",allow="admin" ` + key, "an option is empty", ""},
		{`name="alice",allow="admin", ` + key, "an option is empty", ""},
		{`name="alice", allow="admin" ` + key, `parse key: "allow=\"admin\"", after the options, is no key type`,
			"without spaces between the options"},
		{`name="alice",allow="admin"`, "parse key: there is no key after the options", `name="NAME"`},
		{`name="alice",allow="admin" ssh-ed25519`, "parse key: there is no key after ssh-ed25519",
			"copy the key again"},
		{`name="alice",allow="admin" ssh-ed25519 AAAA`,
			"parse key: what follows ssh-ed25519 is no key, or cut short", "copy the key again"},
		{`name="alice",allow="admin" ` + key[:40],
			"parse key: the key of the type ssh-ed25519 is damaged, or cut short", "copy the key again"},
		{`name="alice",allow="admin" ` + key[:39], "parse key: what follows ssh-ed25519 is no base64, or cut short",
			"copy the key again"},
		{`name="alice",allow="admin" ssh-ed25519 not!base64`,
			"parse key: what follows ssh-ed25519 is no base64, or cut short", "copy the key again"},
		{`name="alice",allow="admin" ssh-ed448 AAAACXNzaC1lZDQ0OAAAAAEB`,
			`parse key: key type "ssh-ed448" is not supported`, "ssh-keygen -t ed25519"},
		{`ssh-ed25519 ` + "AAAA", "parse key: what follows ssh-ed25519 is no key", "copy the key again"},
		{`name="alice",allow="admin" ssh-rsa ` + strings.Fields(key)[1],
			"parse key: the line says ssh-rsa, and the key in it is of the type ssh-ed25519", "copy the key again"},
		{`name="alice",allow="admin" ` + key + "xyz", "parse key: what follows ssh-ed25519 is no base64",
			"copy the key again"},
		{`name="alice",allow="admin" ` + key + " \x1b[2J", "control character", ""},
		{`name="alice",allow="admin" ` + key + " \x00", "control character", ""},
		{`name="alice",allow="admin" ` + key + " \xff", "not UTF-8", ""},
		{"utter nonsense", `parse key: "utter" is no key type, such as ssh-ed25519`, `name="NAME"`},
		{strings.Repeat("nonsense", 100) + " nonsense", "nons…", `name="NAME"`},
		{"x", `parse key: "x" is no key type, such as ssh-ed25519`, `name="NAME"`},
		{`"`, "parse key: a quote in the options is not closed", `name="NAME"`},
	} {
		t.Run(c.line, func(t *testing.T) {
			_, err := parseLine([]byte(c.line))
			fixture.WantError(t, err, nil, c.message, c.remedy)
			if strings.Contains(err.Error(), "ssh: ") || strings.Contains(err.Error(), "illegal base64") {
				t.Errorf("%v is in the library's words", err)
			}
		})
	}
}

func TestParseLineRefusesKinds(t *testing.T) {
	for _, c := range []struct {
		kind, message, remedy string
		args                  []string
	}{
		{"rsa", "RSA key of 1024 bits is too weak, the least is 2048", "ssh-keygen -t ed25519", []string{"-b", "1024"}},
		{"rsa", "", "", []string{"-b", "2048"}},
		{"ecdsa", "", "", []string{"-b", "256"}},
		{"ecdsa", "", "", []string{"-b", "384"}},
		{"ecdsa", "", "", []string{"-b", "521"}},
		{"ed25519", "", "", nil},
	} {
		t.Run(strings.Join(append([]string{c.kind}, c.args...), " "), func(t *testing.T) {
			text := readFile(t, keygen(t, c.kind, c.args...)+".pub")
			key, err := parseLine([]byte(`name="alice",allow="admin" ` + text))
			_, _, fileErr := ParsePublicKey([]byte(text))
			if c.message != "" {
				fixture.WantError(t, err, nil, c.message, c.remedy)
				fixture.WantError(t, fileErr, nil, c.message, c.remedy)
			} else if err != nil || fileErr != nil || key.Comment != "me@home" {
				t.Errorf("%v, %v, key %+v", err, fileErr, key)
			}
		})
	}
}

// dsaKey is written out because new versions of ssh-keygen make none.
const dsaKey = "ssh-dss " +
	"AAAAB3NzaC1kc3MAAACBAO/T1OUp2x/+wWUyA48F4/aDba8fRf9+4mLDBCWdVWmD526+3ut7QpFvAuCw/93XxcpXrla7pQ8foaVmMEfPISVUmg" +
	"4cwstMyfKTNT4bNZDgmuSFMknD+kqsSxulkyiAcbzJ8UcGVe+NLICiHwoUnfuGU0IzyhceFVOrkcPSELiZAAAAFQCC/AqsJa1lYlPI4Dvoym9k" +
	"u/CeiwAAAIEAlkj5776lURepFc9+jucVtL7EFv5WokSbE76hiU77I/JMV4jlEgsYRb0jlkbOnpQmUo8QnWoHsuRe4ZYRYH2P71z5e21pnIemSf" +
	"fj2NCzx/BXiRWY9O4dbxRPzHsdXDD6k7aV+s/EGMjJB7elU6jzomEwXbH3+as0sZ+VLPowhXoAAACAVdAgkvJIuNseWE0ruFXpfS9LNc4Km+aE" +
	"+qCvEbppmDTP5QlALnQOhaZOXNF8bdXeNlA4jXuI7hrrc9e1iPpX6IMfDvHlLstu23a89UH45C1Vzga1jGeH2c9I7A2IbfpxW/ICYFKvDHuDKc" +
	"tu5rbEm1d5DZ3ZbS5A//I/NNq+RSw=" + " me@home\n"

func TestParseLineRefusesDSA(t *testing.T) {
	_, err := parseLine([]byte(`name="alice",allow="admin" ` + dsaKey))
	fixture.WantError(t, err, nil, `key type "ssh-dss" is not supported`, "ssh-keygen -t ed25519")
	_, _, err = ParsePublicKey([]byte(dsaKey))
	fixture.WantError(t, err, nil, `key type "ssh-dss" is not supported`, "ssh-keygen -t ed25519")
}

func TestParseLineRefusesCertificate(t *testing.T) {
	ca, user := keygen(t, "ed25519"), keygen(t, "ed25519")
	sshKeygen(t, "-q", "-s", ca, "-I", "alice", "-n", "alice", user+".pub")
	text := readFile(t, user+"-cert.pub")
	_, err := parseLine([]byte(`name="alice",allow="admin" ` + text))
	fixture.WantError(t, err, nil, "is a certificate", "without -cert")
	_, _, err = ParsePublicKey([]byte(text))
	fixture.WantError(t, err, nil, "is a certificate", "without -cert")
}

// anyKey draws a key that Add would accept.
func anyKey(t *rapid.T, pub ssh.PublicKey) *Key {
	return &Key{
		Name:      rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}`).Draw(t, "name"),
		Rules:     rapid.SliceOfN(anyRule(), 1, 4).Draw(t, "rules"),
		Comment:   strings.TrimSpace(rapid.StringMatching(`[ -~äß世"\\#,=]{0,30}`).Draw(t, "comment")),
		PublicKey: pub,
	}
}

func TestLineRoundTrip(t *testing.T) {
	pub := fixture.PublicKey()
	rapid.Check(t, func(t *rapid.T) {
		want := anyKey(t, pub)
		if err := want.check(); err != nil {
			t.Fatal(err)
		}
		got, err := parseLine(want.line())
		if err != nil {
			t.Fatalf("%s: %v", want.line(), err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameKey)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func FuzzParseLine(f *testing.F) {
	key := keyText(fixture.PublicKey())
	for _, seed := range []string{
		"", "# comment", key, `name="alice",allow="deploy:web,read:*" ` + key + " me",
		`name="a\"b",allow="admin" ` + key,
		`name="alice",allow="admin",restrict ` + key, `name="alice",,allow="admin" ` + key, "\xef\xbb\xbf" + key,
		`name="alice",allow="admin"` + "\t" + key + "\r", `"name="alice",allow="admin" ` + key,
		`name="alice` + "\n" + key,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseLine(text)
		if err != nil || key == nil {
			return
		}
		if err := key.check(); err != nil {
			t.Fatalf("%q gives a key that Add refuses: %v", text, err)
		}
		for _, option := range []string{"name=", "allow="} {
			if !bytes.Contains(text, []byte(option)) {
				t.Fatalf("%q has no %s", text, option)
			}
		}
		again, err := parseLine(key.line())
		if err != nil {
			t.Fatalf("%q is written as %q: %v", text, key.line(), err)
		}
		if diff := cmp.Diff(key, again, cmp.Comparer(sameKey)); diff != "" {
			t.Fatalf("%q changes when it is written:\n%s", text, diff)
		}
	})
}

// FuzzFile holds the two ways of reading the same file against each other: whom List lets in, Find lets in by the
// same line, and nobody else.
func FuzzFile(f *testing.F) {
	alice, stranger := fixture.PublicKey(), fixture.PublicKey()
	a, s := keyText(alice), keyText(stranger)
	for _, seed := range []string{
		"", usable("alice", alice), usable("alice", alice) + usable("bob", alice),
		"#\r\n\n" + usable("alice", alice) + "x",
		`name="alice",allow="admin",restrict ` + a + "\n" + usable("alice", alice),
		"\x00\n" + usable("alice", alice) + s,
		strings.Repeat(" ", maxLine) + "\n" + usable("alice", alice),
		strings.Repeat("x", maxLine+1) + usable("alice", alice),
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		file := File{Path: filepath.Join(dir, "authorized_keys")}
		if err := os.WriteFile(file.Path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, bad, err := file.List()
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		if len(keys)+len(bad) > lines {
			t.Fatalf("%d keys and %d bad lines in %d lines", len(keys), len(bad), lines)
		}
		for _, want := range keys {
			got, err := file.Find(want.PublicKey)
			if err != nil || got == nil || got.Line != want.Line {
				t.Fatalf("List has %+v, Find has %+v, %v", want, got, err)
			}
		}
		for _, pub := range []ssh.PublicKey{alice, stranger} {
			got, err := file.Find(pub)
			listed := slices.ContainsFunc(keys, func(k *Key) bool { return sameKey(k.PublicKey, pub) })
			if (got != nil) != listed || got != nil && err != nil {
				t.Fatalf("listed: %v, found %+v, %v", listed, got, err)
			}
		}
	})
}
