package keys

import (
	"errors"
	"fmt"
	"io/fs"
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

func newFile(t *testing.T) File {
	t.Helper()
	return File{Path: filepath.Join(t.TempDir(), "new", "keys", "authorized_keys")}
}

func mustAdd(t *testing.T, f File, name string, pub ssh.PublicKey, rules ...Rule) {
	t.Helper()
	if err := f.Add(name, pub, name+"@home", rules); err != nil {
		t.Fatal(err)
	}
}

// names gives the users of the usable keys in order, and fails the test where a line is not usable.
func names(t *testing.T, f File) []string {
	t.Helper()
	keys, bad, err := f.List()
	if err != nil || len(bad) > 0 {
		t.Fatalf("list: %v, %v", bad, err)
	}
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	return names
}

func TestMissingFileHasNoKeys(t *testing.T) {
	f := newFile(t)
	key, err := f.Find(fixture.PublicKey())
	if got := names(t, f); got != nil || key != nil || err != nil {
		t.Fatalf("%v, %v, %v", got, key, err)
	}
	if _, err := os.Stat(filepath.Dir(f.Path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made the directory: %v", err)
	}
	_, err = f.Remove("alice", "")
	fixture.WantError(t, err, nil, `no line of user "alice"`, "there are no keys yet")
}

func TestAddFindRemove(t *testing.T) {
	f := newFile(t)
	alice, laptop, bob := fixture.PublicKey(), fixture.PublicKey(), fixture.PublicKey()
	mustAdd(t, f, "alice", alice, Rule{Deploy, "web"}, Rule{Read, "*"})
	mustAdd(t, f, "bob", bob, Rule{Action: Admin})
	mustAdd(t, f, "alice", laptop, Rule{Read, "web"})
	for path, mode := range map[string]fs.FileMode{f.Path: 0o600, filepath.Dir(f.Path): 0o700 | fs.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode(), mode, err)
		}
	}
	key, err := f.Find(alice)
	if err != nil || key == nil {
		t.Fatal(key, err)
	}
	want := &Key{Name: "alice", Rules: []Rule{{Deploy, "web"}, {Read, "*"}}, PublicKey: alice,
		Comment: "alice@home", Line: 1}
	if diff := cmp.Diff(want, key, cmp.Comparer(sameKey)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if key, err := f.Find(fixture.PublicKey()); key != nil || err != nil {
		t.Errorf("unknown key is %v, %v", key, err)
	}
	// Each key of a user has its own rules.
	if key, err := f.Find(laptop); err != nil || key.Name != "alice" || key.Line != 3 || key.May(Push, "web") {
		t.Errorf("laptop is %v, %v", key, err)
	}
	_, err = f.Remove("carol", "")
	fixture.WantError(t, err, nil, `no line of user "carol"`, "there are keys of alice, bob")
	if n, err := f.Remove("alice", ""); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if diff := cmp.Diff([]string{"bob"}, names(t, f)); diff != "" {
		t.Error(diff)
	}
	if key, err := f.Find(alice); key != nil || err != nil {
		t.Errorf("removed key is %v, %v", key, err)
	}
}

// TestStockProgramReadsIt has ssh-keygen list what Add wrote.
func TestStockProgramReadsIt(t *testing.T) {
	f := newFile(t)
	var want []string
	for i := range 5 {
		pub := fixture.PublicKey()
		mustAdd(t, f, fmt.Sprint("user", i), pub, Rule{Deploy, "web"}, Rule{Read, "*"})
		want = append(want, fmt.Sprintf("256 %s user%d@home (ED25519)", ssh.FingerprintSHA256(pub), i))
	}
	got := strings.Split(strings.TrimSpace(sshKeygen(t, "-l", "-f", f.Path)), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBadLinesLeaveTheOthersAlone(t *testing.T) {
	f := newFile(t)
	alice, bob := fixture.PublicKey(), fixture.PublicKey()
	weak := readFile(t, keygen(t, "rsa", "-b", "1024")+".pub")
	text := "# the team\n\n" +
		`name="alice",allow="admin" ` + keyText(alice) + "\n" +
		`name="eve",allow="admin",restrict ` + keyText(fixture.PublicKey()) + "\n" +
		"garbage\n" +
		`name="weak",allow="admin" ` + weak +
		`name="mallory",allow="admin" ` + keyText(alice) + " the same key\n" +
		`name="bob",allow="read:web" ` + keyText(bob) // and no newline at the end
	writeFile(t, f.Path, text, 0o600)
	keys, bad, err := f.List()
	if err != nil || len(keys) != 2 || keys[0].Name != "alice" || keys[1].Name != "bob" || keys[1].Line != 8 {
		t.Fatalf("%v, %v", keys, err)
	}
	want := []struct {
		line    int
		message string
	}{{4, `unknown option "restrict"`}, {5, "parse key"}, {6, "RSA key of 1024 bits is too weak"},
		{7, "the same key as in line 3, of alice"}}
	if len(bad) != len(want) {
		t.Fatalf("bad lines: %v", bad)
	}
	for i, w := range want {
		fixture.WantError(t, bad[i], nil, fmt.Sprintf("%s:%d: %s", f.Path, w.line, w.message), "")
	}
	if key, err := f.Find(alice); err != nil || key.Name != "alice" {
		t.Errorf("alice is %v, %v", key, err)
	}

	// A change keeps all of it, and ends the last line first.
	carol := fixture.PublicKey()
	mustAdd(t, f, "carol", carol, Rule{Read, "*"})
	wantText := text + "\n" + `name="carol",allow="read:*" ` + keyText(carol) + " carol@home\n"
	if diff := cmp.Diff(wantText, readFile(t, f.Path)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n, err := f.Remove("carol", ""); n != 1 || err != nil {
		t.Error(n, err)
	}
	if diff := cmp.Diff(text+"\n", readFile(t, f.Path)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRemoveNeverLetsAKeyBackIn: the second line of a removed key would become usable.
func TestRemoveNeverLetsAKeyBackIn(t *testing.T) {
	f := newFile(t)
	shared, own := fixture.PublicKey(), fixture.PublicKey()
	line := func(name string, pub ssh.PublicKey) string {
		return fmt.Sprintf("name=%q,allow=\"admin\" %s\n", name, keyText(pub))
	}
	text := line("alice", shared) + line("bob", shared) + line("bob", own) +
		`name="alice",allow="admin",restrict ` + keyText(fixture.PublicKey()) + "\n"
	writeFile(t, f.Path, text, 0o600)
	if n, err := f.Remove("alice", ""); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if diff := cmp.Diff(line("bob", own), readFile(t, f.Path)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// The other way round the first line is not touched.
	writeFile(t, f.Path, line("alice", shared)+line("bob", shared), 0o600)
	if n, err := f.Remove("bob", ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if diff := cmp.Diff(line("alice", shared), readFile(t, f.Path)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestUnusableLineDoesNotTakeTheKey: only a usable line makes a later one with the same key a duplicate.
func TestUnusableLineDoesNotTakeTheKey(t *testing.T) {
	f := newFile(t)
	pub := fixture.PublicKey()
	writeFile(t, f.Path, `name="alice",allow="admin",restrict `+keyText(pub)+"\n"+`name="alice",allow="read:web" `+
		keyText(pub)+"\n", 0o600)
	_, bad, err := f.List()
	if err != nil || len(bad) != 1 || !strings.Contains(bad[0].Error(), ":1: ") {
		t.Errorf("bad lines: %v, %v", bad, err)
	}
	if key, err := f.Find(pub); err != nil || key == nil || key.Line != 2 || key.May(Admin, "") {
		t.Errorf("found %+v, %v", key, err)
	}
}

func TestAddRefuses(t *testing.T) {
	f := newFile(t)
	alice, broken, fresh := fixture.PublicKey(), fixture.PublicKey(), fixture.PublicKey()
	text := `name="alice",allow="read:web" ` + keyText(alice) + "\n" +
		`name="bob",allow="read:web",restrict ` + keyText(broken) + "\n"
	writeFile(t, f.Path, text, 0o600)
	read := []Rule{{Read, "web"}}
	edit := func(line int) string { return fmt.Sprintf("edit line %d of %s", line, f.Path) }
	weak, _, _, _, err := ssh.ParseAuthorizedKey([]byte(readFile(t, keygen(t, "rsa", "-b", "1024")+".pub")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name            string
		pub             ssh.PublicKey
		comment         string
		rules           []Rule
		message, remedy string
	}{
		{"alice", alice, "", read, ssh.FingerprintSHA256(alice) + " is there already, as a key of alice in line 1",
			edit(1)},
		{"carol", alice, "", read, "as a key of alice in line 1", edit(1)},
		{"carol", broken, "", read, "as a key of bob in line 2, which is not usable: unknown option", edit(2)},
		{"", fresh, "", read, `user name "" is not allowed`, "1 to 64"},
		{"a\nb", fresh, "", read, "is not allowed", "1 to 64"},
		{`a",allow="admin`, fresh, "", read, "is not allowed", "1 to 64"},
		{"carol", fresh, "x\n" + `name="eve",allow="admin" ` + keyText(fresh), read, "control character", ""},
		{"carol", fresh, "x\rx", read, "control character", ""},
		{"carol", fresh, "\xff", read, "not UTF-8", ""},
		{"carol", fresh, "", nil, "no rules given", "deploy:web"},
		{"carol", fresh, "", []Rule{{Read, "web,admin"}}, "other than A-Z", "deploy:web"},
		{"carol", fresh, "", []Rule{{Read, `web",x="`}}, "other than A-Z", "deploy:web"},
		{"carol", fresh, "", []Rule{{Admin, "*"}}, "takes no repository", "deploy:web"},
		{"carol", fresh, "", []Rule{{}}, `unknown action ""`, "deploy:web"},
		{"carol", weak, "", read, "too weak", "ssh-keygen"},
	} {
		t.Run(c.name+" "+c.message, func(t *testing.T) {
			fixture.WantError(t, f.Add(c.name, c.pub, c.comment, c.rules), nil, c.message, c.remedy)
			if diff := cmp.Diff(text, readFile(t, f.Path)); diff != "" {
				t.Errorf("the file changed:\n%s", diff)
			}
		})
	}
}

func TestFileThatOthersMayWriteIsRefused(t *testing.T) {
	f := newFile(t)
	alice := fixture.PublicKey()
	mustAdd(t, f, "alice", alice, Rule{Action: Admin})
	for _, mode := range []fs.FileMode{0o620, 0o602, 0o666} {
		if err := os.Chmod(f.Path, mode); err != nil {
			t.Fatal(err)
		}
		message, remedy := fmt.Sprintf("%s has mode %04o", f.Path, mode), "chmod 600 "+f.Path
		_, _, err := f.List()
		fixture.WantError(t, err, nil, message, remedy)
		key, err := f.Find(alice)
		fixture.WantError(t, err, nil, message, remedy)
		if key != nil {
			t.Error("found a key in it")
		}
		_, err = f.Remove("alice", "")
		fixture.WantError(t, err, nil, message, remedy)
		fixture.WantError(t, f.Add("bob", fixture.PublicKey(), "", []Rule{{Read, "*"}}), nil, message, remedy)
	}
	if err := os.Chmod(f.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"alice"}, names(t, f)); diff != "" {
		t.Error(diff)
	}
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	_, _, err := File{Path: dir}.List()
	fixture.WantError(t, err, nil, dir+" is a directory, not a file", "")
	below := File{Path: filepath.Join(dir, "file", "authorized_keys")}
	writeFile(t, filepath.Dir(below.Path), "", 0o600)
	_, err = below.Find(fixture.PublicKey())
	fixture.WantError(t, err, nil, "not a directory", "")
	fixture.WantError(t, below.Add("alice", fixture.PublicKey(), "", []Rule{{Read, "*"}}), nil, "not a directory", "")
}

func TestSymbolicLinkStays(t *testing.T) {
	f := newFile(t)
	real := filepath.Join(t.TempDir(), "elsewhere")
	writeFile(t, real, "# ours\n", 0o600)
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, f.Path); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, f, "alice", fixture.PublicKey(), Rule{Action: Admin})
	if target, err := os.Readlink(f.Path); err != nil || target != real {
		t.Errorf("link is %q, %v", target, err)
	}
	if diff := cmp.Diff([]string{"alice"}, names(t, File{Path: real})); diff != "" {
		t.Error(diff)
	}
}

// model is what a File should hold.
type model struct {
	lines []string // raw, with newline
	users []string // of each line; "" for a comment
}

// TestAgainstModel makes random changes, with comments and broken lines written by hand between them, and compares
// the bytes.
func TestAgainstModel(t *testing.T) {
	pool := make([]ssh.PublicKey, 6)
	for i := range pool {
		pool[i] = fixture.PublicKey()
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		f := File{Path: filepath.Join(dir, "authorized_keys")}
		var m model
		name := rapid.SampledFrom([]string{"alice", "bob", "carol"})
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				key := anyKey(rt, rapid.SampledFrom(pool).Draw(rt, "key"))
				key.Name = name.Draw(rt, "user")
				there := slices.ContainsFunc(m.lines,
					func(l string) bool { return strings.Contains(l, keyText(key.PublicKey)) })
				err := f.Add(key.Name, key.PublicKey, key.Comment, key.Rules)
				if (err != nil) != there {
					rt.Fatalf("key there %v, add says %v", there, err)
				}
				if err == nil {
					m.lines, m.users = append(m.lines, string(key.line())), append(m.users, key.Name)
				}
			},
			"remove": func(rt *rapid.T) {
				user := name.Draw(rt, "user")
				n, err := f.Remove(user, "")
				var kept model
				for i, u := range m.users {
					if u != user {
						kept.lines, kept.users = append(kept.lines, m.lines[i]), append(kept.users, u)
					}
				}
				if n != len(m.users)-len(kept.users) || (err != nil) != (n == 0) {
					rt.Fatalf("removed %d, %v", n, err)
				}
				m = kept
			},
			"write by hand": func(rt *rapid.T) {
				line := rapid.SampledFrom([]string{"\n", "# note\n", "garbage\r\n", "\t# x\n"}).Draw(rt, "line")
				m.lines, m.users = append(m.lines, line), append(m.users, "")
				if err := os.WriteFile(f.Path, []byte(strings.Join(m.lines, "")), 0o600); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				text, err := os.ReadFile(f.Path)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					rt.Fatal(err)
				}
				if diff := cmp.Diff(strings.Join(m.lines, ""), string(text)); diff != "" {
					rt.Fatalf("-want +got:\n%s", diff)
				}
				for _, pub := range pool {
					i := slices.IndexFunc(m.lines, func(l string) bool { return strings.Contains(l, keyText(pub)) })
					key, err := f.Find(pub)
					if err != nil || (key == nil) != (i < 0) || key != nil &&
						(key.Line != i+1 || key.Name != m.users[i]) {
						rt.Fatalf("line %d is found as %+v, %v", i+1, key, err)
					}
				}
			},
		})
	})
}

// Set and Remove with a fingerprint are about one key of a name, and leave every other byte as it is.
func TestOneKeyOfSeveral(t *testing.T) {
	f := newFile(t)
	first, second, other := fixture.PublicKey(), fixture.PublicKey(), fixture.PublicKey()
	line := func(name, allow string, pub ssh.PublicKey) string {
		return fmt.Sprintf("name=%q,allow=%q %s c\n", name, allow, keyText(pub))
	}
	const comment = "  # by hand \n"
	text := comment + line("alice", "read:web", first) + line("bob", "admin", other) + line("alice", "read:web", second)
	writeFile(t, f.Path, text, 0o600)
	print := ssh.FingerprintSHA256(second)
	set, err := f.Set("alice", print, []Rule{{Deploy, "web"}})
	if err != nil || len(set) != 1 || set[0].Fingerprint() != print {
		t.Fatal(set, err)
	}
	want := comment + line("alice", "read:web", first) + line("bob", "admin", other) + line("alice", "deploy:web", second)
	if diff := cmp.Diff(want, readFile(t, f.Path)); diff != "" {
		t.Error(diff)
	}
	_, err = f.Set("bob", print, []Rule{{Deploy, "web"}})
	fixture.WantError(t, err, nil, `user "bob" has no key "`+print, "there are "+ssh.FingerprintSHA256(other))
	_, err = f.Set("alice", "", nil)
	fixture.WantError(t, err, nil, "no rules given", "rules are")
	_, err = f.Remove("bob", print)
	fixture.WantError(t, err, nil, `user "bob" has no key "`+print, "there are "+ssh.FingerprintSHA256(other))
	if diff := cmp.Diff(want, readFile(t, f.Path)); diff != "" {
		t.Error(diff)
	}
	if n, err := f.Remove("alice", ssh.FingerprintSHA256(first)); n != 1 || err != nil {
		t.Error(n, err)
	}
	want = comment + line("bob", "admin", other) + line("alice", "deploy:web", second)
	if diff := cmp.Diff(want, readFile(t, f.Path)); diff != "" {
		t.Error(diff)
	}
	// A line that is not usable is not guessed about.
	broken := want + `name="alice",allow="fly:web" ` + keyText(first) + "\n"
	writeFile(t, f.Path, broken, 0o600)
	_, err = f.Set("alice", "", []Rule{{Read, "*"}})
	fixture.WantError(t, err, ErrLine, "unknown action", "")
	if diff := cmp.Diff(broken, readFile(t, f.Path)); diff != "" {
		t.Error(diff)
	}
}
