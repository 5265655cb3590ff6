package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
)

// usable is a line that lets a key in.
func usable(name string, pub ssh.PublicKey) string {
	return fmt.Sprintf("name=%q,allow=\"read:*\" %s\n", name, keyText(pub))
}

// TestMonsters: a file that something else has filled is named, costs a lookup no memory to speak of, and keeps
// nobody out whose line is good.
func TestMonsters(t *testing.T) {
	const lines = 300_000
	alice, bob := fixture.PublicKey(), fixture.PublicKey()
	for _, c := range []struct {
		name, middle, message string
		bad, bobs             int // unusable lines, and the line that bob has
	}{
		{"many lines of nonsense", strings.Repeat("x\n", lines), ":2: parse key", maxBad + 1, lines + 2},
		{"many comments", strings.Repeat("#\n", lines), "", 0, lines + 2},
		{"many empty lines", strings.Repeat("\n", lines), "", 0, lines + 2},
		{"one line of 10 MB", strings.Repeat("x", 10_000_000) + "\n", ":2: line is longer than 16384 bytes", 1, 3},
		{"one comment of 10 MB", "#" + strings.Repeat("x", 10_000_000) + "\n", "", 0, 3},
		{"a key behind 10 MB of spaces", strings.Repeat(" ", 10_000_000) + usable("eve", fixture.PublicKey()),
			":2: line is longer", 1, 3},
		{"a line of NUL bytes", strings.Repeat("\x00", 10_000_000) + "\n", ":2: line is longer", 1, 3},
		{"zeros to the end of the line before bob", strings.Repeat("\x00", 5000) + "\n",
			":2: text has a control character", 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t)
			text := usable("alice", alice) + c.middle + usable("bob", bob)
			writeFile(t, f.Path, text, 0o600)
			keys, bad, err := f.List()
			if err != nil || len(keys) != 2 || keys[1].Name != "bob" || keys[1].Line != c.bobs || len(bad) != c.bad {
				t.Fatalf("keys %v, %d bad lines, %v", keys, len(bad), err)
			}
			if c.bad > 0 {
				fixture.WantError(t, bad[0], nil, f.Path+c.message, "")
			}
			if c.bad > maxBad {
				fixture.WantError(t, bad[maxBad], nil,
					fmt.Sprintf(":%d: from here on %d more lines are not usable", maxBad+2, lines-maxBad), "")
			}
			start := time.Now()
			used := fixture.Allocated(func() {
				if key, err := f.Find(bob); err != nil || key == nil || key.Line != c.bobs {
					t.Errorf("bob is %v, %v", key, err)
				}
				if key, err := f.Find(fixture.PublicKey()); err != nil || key != nil {
					t.Errorf("a stranger is %v, %v", key, err)
				}
			})
			t.Logf("two lookups: %v, %d bytes allocated", time.Since(start), used)
			if used > 1<<20 {
				t.Errorf("two lookups allocate %d bytes", used)
			}
			if c.bad > maxBad {
				return // each change would parse all of it again
			}
			// What is changed is changed beside it.
			mustAdd(t, f, "carol", fixture.PublicKey(), Rule{Read, "*"})
			if n, err := f.Remove("carol", ""); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if !bytes.Equal([]byte(readFile(t, f.Path)), []byte(text)) {
				t.Error("the file is not what it was")
			}
		})
	}
}

// TestFileThatIsTooLarge: it is refused whole.
func TestFileThatIsTooLarge(t *testing.T) {
	f := newFile(t)
	alice := fixture.PublicKey()
	writeFile(t, f.Path, usable("alice", alice), 0o600)
	if err := os.Truncate(f.Path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	message, remedy := fmt.Sprintf("%s: %d bytes are more than the limit of %d", f.Path, maxFile+1, maxFile),
		"remove lines"
	_, _, err := f.List()
	fixture.WantError(t, err, nil, message, remedy)
	_, err = f.Find(alice)
	fixture.WantError(t, err, nil, message, remedy)
	fixture.WantError(t, f.Add("bob", fixture.PublicKey(), "", []Rule{{Read, "*"}}), nil, message, remedy)
	_, err = f.Remove("alice", "")
	fixture.WantError(t, err, nil, message, remedy)
	// A change does not make it so.
	text := usable("alice", alice) + strings.Repeat("#", maxFile-len(usable("alice", alice))-10) + "\n"
	writeFile(t, f.Path, text, 0o600)
	fixture.WantError(t, f.Add("bob", fixture.PublicKey(), "", []Rule{{Read, "*"}}), nil, "are more than the limit",
		remedy)
	if key, err := f.Find(alice); err != nil || key == nil {
		t.Errorf("alice is %v, %v", key, err)
	}
}

// TestLongestLine: what Add writes is read again, and one rule more is refused.
func TestLongestLine(t *testing.T) {
	f := newFile(t)
	pub := fixture.PublicKey()
	var rules []Rule
	for i := 0; ; i++ {
		next := append(rules, Rule{Read, strings.Repeat("a", 90) + fmt.Sprint(i)})
		key := &Key{Name: "alice", Rules: next, PublicKey: pub}
		if err := key.check(); err != nil {
			fixture.WantError(t, f.Add("alice", pub, "", next), nil, "line is longer than 16384 bytes", "use * for")
			break
		}
		rules = next
	}
	mustAdd(t, f, "alice", pub, rules...)
	key, err := f.Find(pub)
	if err != nil || key == nil {
		t.Fatal(key, err)
	}
	if diff := cmp.Diff(rules, key.Rules); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestFindNamesTheLine that keeps a key out.
func TestFindNamesTheLine(t *testing.T) {
	f := newFile(t)
	alice, bob := fixture.PublicKey(), fixture.PublicKey()
	for _, c := range []struct{ text, message string }{
		{`name="alice",allow="admin",restrict ` + keyText(alice), `:2: unknown option "restrict"`},
		{`name="alice",allow="admin ` + keyText(alice), ":2: parse key"},
		{`name="alice",allow="admin" ` + keyText(alice) + " \x1b[2J", ":2: text has a control character"},
	} {
		writeFile(t, f.Path, "# team\n"+c.text+"\n"+usable("bob", bob)+c.text+"\n", 0o600)
		key, err := f.Find(alice)
		fixture.WantError(t, err, nil, f.Path+c.message, "")
		if key != nil {
			t.Errorf("%s lets %v in", c.text, key)
		}
		if key, err := f.Find(bob); err != nil || key == nil || key.Line != 3 {
			t.Errorf("bob is %v, %v", key, err)
		}
	}
	// A key in somebody's comment is nobody's.
	writeFile(t, f.Path, strings.TrimSuffix(usable("bob", bob), "\n")+" "+keyText(alice)+"\n", 0o600)
	if key, err := f.Find(alice); key != nil || err != nil {
		t.Errorf("found %v, %v", key, err)
	}
}

// TestOneSpellingOfAKey: the last digit of this kind's base64 has bits that mean nothing, and lookups compare base64.
func TestOneSpellingOfAKey(t *testing.T) {
	f := newFile(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	line := usable("alice", pub)
	digit := strings.LastIndexByte(line, '=') - 1
	respelled := line[:digit] + string(line[digit]+1) + line[digit+1:]
	if again, _, _, _, err := ssh.ParseAuthorizedKey([]byte(respelled)); err != nil || !sameKey(again, pub) {
		t.Fatalf("%s is no other spelling of %s: %v", respelled, line, err)
	}
	writeFile(t, f.Path, respelled, 0o600)
	_, bad, err := f.List()
	if err != nil || len(bad) != 1 {
		t.Fatalf("%v, %v", bad, err)
	}
	fixture.WantError(t, bad[0], nil, "the key's base64 is not as ssh-keygen writes it", "copy the key again")
	if key, err := f.Find(pub); key != nil || err != nil {
		t.Errorf("found %v, %v", key, err)
	}
}
