package keys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// noon is when the signatures of these tests were made.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func mustParseSigners(t *testing.T, text string) *AllowedSigners {
	t.Helper()
	a, err := parseSigners("FILE", []byte(text), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseSigner(t *testing.T) {
	pub := fixture.PublicKey()
	key := keyText(pub)
	day := func(text string) time.Time {
		at, err := time.Parse(time.DateTime, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for line, want := range map[string]Signer{
		"alice " + key: {Principals: "alice", Namespaces: "*"},
		" \talice@x,*@y\t" + strings.Replace(key, " ", " \t ", 1) + " of the laptop \r\n": {
			Principals: "alice@x,*@y", Namespaces: "*", Comment: "of the laptop"},
		`"alice in chains" ` + key: {Principals: "alice in chains", Namespaces: "*"},
		`al"ice in"` + key:         {Principals: "alice in", Namespaces: "*"},
		`alice namespaces="refship,git*" ` + key + " a  b": {
			Principals: "alice", Namespaces: "refship,git*", Comment: "a  b"},
		`alice NameSpaces="a \"b\" \c" ` + key: {Principals: "alice", Namespaces: `a "b" \c`},
		`alice namespaces="" ` + key:           {Principals: "alice"},
		`alice ,valid-after="20260701Z",,valid-before="202607021230Z" ` + key: {
			Principals: "alice", Namespaces: "*", After: day("2026-07-01 00:00:00"), Before: day("2026-07-02 12:30:00")},
		`alice valid-before="20260702123059utc",namespaces="x" ` + key: {
			Principals: "alice", Namespaces: "x", Before: day("2026-07-02 12:30:59")},
	} {
		got, err := parseSigner([]byte(line), time.UTC)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		want.PublicKey = pub
		if diff := cmp.Diff(&want, got, cmp.Comparer(sameKey)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", line, diff)
		}
		// What is written is read back the same.
		again, err := parseSigner([]byte(got.Line()), time.Local)
		if err != nil {
			t.Errorf("%s: %v", got.Line(), err)
		} else if diff := cmp.Diff(got, again, cmp.Comparer(sameKey)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", got.Line(), diff)
		}
	}
	for _, line := range []string{"", "\n", " \t\r\n", "# alice " + key, "  #alice " + key} {
		if s, err := parseSigner([]byte(line), time.UTC); s != nil || err != nil {
			t.Errorf("%q gives %v, %v and is a comment", line, s, err)
		}
	}
}

func TestParseSignerRefuses(t *testing.T) {
	key := keyText(fixture.PublicKey())
	kind, encoded, _ := strings.Cut(key, " ")
	for _, c := range []struct{ line, message, remedy string }{
		{"alice", "no key after the principals", "a line is: "},
		{key, "no principals before the key", "a line is: "},
		{key + " me@home", "no principals before the key", "a line is: "},
		{"alice " + kind, "there is no key after ssh-ed25519", ".pub"},
		{"alice " + kind + " " + encoded[:40], "cut short", ".pub"},
		{"alice ssh-rsa " + encoded, "the line says ssh-rsa", ".pub"},
		{"alice bob " + key, `unknown option "bob"`, "namespaces, valid-after and valid-before"},
		{"alice namespaces=\"x\"", "there is no key after", "a line is: "},
		{"alice namespaces=\"x\" key", `"key" is no key type`, "a line is: "},
		{`"alice ` + key, "a quote in the principals is not closed", "a line is: "},
		{`"" ` + key, "the principals are empty", "a line is: "},
		{`, ` + key, "the principals are empty", "a line is: "},
		{`!alice,!bob ` + key, `the principals "!alice,!bob" only say who it is not`, "a line is: "},
		{`namespaces="git" ` + key, "no principals before the options", "a line is: "},
		{`Cert-Authority ` + key, "no principals before the options", "a line is: "},
		{`alice namespaces="x ` + key, "a quote in the options is not closed", "a line is: "},
		{`alice namespaces=x ` + key, `option "namespaces" has no quoted value`, `namespaces="…"`},
		{`alice Namespaces ` + key, `option "namespaces" has no quoted value`, `namespaces="…"`},
		{`alice namespaces="x"y ` + key, `option "namespaces" has no quoted value`, `namespaces="…"`},
		{`alice namespaces="x",namespaces="y" ` + key, `"namespaces" is given twice`, "remove one"},
		{`alice namespaces="x", ` + key, "no option after the last comma", "remove it"},
		{`alice no-touch-required ` + key, `unknown option "no-touch-required"`, "remove it"},
		{`alice namespaces="x",restrict ` + key, `unknown option "restrict"`, "remove it"},
		{`alice cert-authority ` + key, "cert-authority is not supported", "a line of its own"},
		{`alice CERT-AUTHORITY,namespaces="x" ` + key, "cert-authority is not supported", "a line of its own"},
		{`alice valid-after="2026" ` + key, `valid-after="2026" is no time`, "YYYYMMDDHHMMSSZ"},
		{`alice valid-after="2026-07-01" ` + key, "8, 12 or 14 digits", "YYYYMMDDHHMMSSZ"},
		{`alice valid-after="202607010Z" ` + key, "8, 12 or 14 digits", "YYYYMMDDHHMMSSZ"},
		{`alice valid-before="20260231" ` + key, "no such day", "YYYYMMDDHHMMSSZ"},
		{`alice valid-before="202607012400" ` + key, "no such day or time", "YYYYMMDDHHMMSSZ"},
		{`alice valid-before="19700101Z" ` + key, "not after 1970", "YYYYMMDDHHMMSSZ"},
		{`alice valid-before="Z" ` + key, "digits", "YYYYMMDDHHMMSSZ"},
		{`alice valid-before="20260701",valid-before="20260702" ` + key, "given twice", "remove one"},
		{`alice valid-after="20260702",valid-before="20260702" ` + key, "valid-before is not later", "exchange"},
		{"alice " + key + " \x1b[2J", "control character", "a line is: "},
		{"alice " + key + " \xff", "not UTF-8", "a line is: "},
		{"alice " + key + strings.Repeat(" ", maxLine), "longer than 16384 bytes", "split"},
		{"alice " + strings.TrimSpace(readFile(t, keygen(t, "rsa", "-b", "1024")+".pub")), "too weak", "ed25519"},
	} {
		_, err := parseSigner([]byte(c.line), time.UTC)
		fixture.WantError(t, err, nil, c.message, c.remedy)
	}
}

func TestJudge(t *testing.T) {
	alice, bob, carol, eve := fixture.PublicKey(), fixture.PublicKey(), fixture.PublicKey(), fixture.PublicKey()
	a := mustParseSigners(t, "# who may deploy\n\n"+
		`alice namespaces="refship",valid-before="202607011200Z" `+keyText(alice)+"\n"+
		`alice valid-after="202607021200Z" `+keyText(alice)+"\n"+
		`bob namespaces="git" `+keyText(bob)+"\n"+
		`carol,dave valid-after="202607011200Z" `+keyText(carol)+"\n")
	if lines := a.Unusable(); lines != nil {
		t.Fatal(lines)
	}
	for _, c := range []struct {
		key       ssh.PublicKey
		namespace string
		at        time.Time
		want      string // the principals, or with a space in it, a part of the error
	}{
		{alice, "refship", noon, "alice"},
		{alice, "refship", noon.Add(999 * time.Millisecond), "alice"},
		{alice, "refship", noon.Add(-100 * 365 * 24 * time.Hour), "alice"},
		{alice, "refship", noon.Add(time.Second), ", of alice, was allowed only until 2026-07-01T12:00:00Z, and it signed " +
			"at 2026-07-01T12:00:01Z (FILE:3)"},
		{alice, "refship", noon.Add(24*time.Hour - time.Millisecond), ", of alice, was allowed only until"},
		{alice, "refship", noon.Add(24 * time.Hour), "alice"},
		{alice, "git", noon, `, of alice, may not sign in the namespace "git", only in "refship" (FILE:3)`},
		{alice, "git", noon.Add(24 * time.Hour), "alice"},
		{carol, "refship", noon.Add(-time.Second), ", of carol,dave, is allowed only from 2026-07-01T12:00:00Z on, and it " +
			"signed at 2026-07-01T11:59:59Z (FILE:6)"},
		{bob, "refship", noon, `, of bob, may not sign in the namespace "refship", only in "git" (FILE:5)`},
		{eve, "refship", noon, " is not an allowed signer"},
	} {
		fingerprint := ssh.FingerprintSHA256(c.key)
		got, err := a.Judge(c.namespace, fingerprint, c.at)
		if !strings.Contains(c.want, " ") {
			if got != c.want || err != nil {
				t.Errorf("at %s: %q, %v, want %q", c.at, got, err, c.want)
			}
			continue
		}
		remedy := "correct that line"
		if sameKey(c.key, eve) {
			remedy = "add its line"
		}
		if a.Knows(fingerprint) == sameKey(c.key, eve) {
			t.Errorf("%s is known: %v", fingerprint, a.Knows(fingerprint))
		}
		if fixture.WantFault(t, fault.Corrupt, err, fingerprint+c.want, remedy); got != "" {
			t.Errorf("%q, and is not allowed", got)
		}
	}
	if _, err := new(AllowedSigners).Judge("refship", ssh.FingerprintSHA256(alice), noon); err == nil {
		t.Error("without any line somebody is allowed")
	}
}

// TestUnusableLinesOfSigners: such a line allows nobody, not even by its key, and the others count.
func TestUnusableLinesOfSigners(t *testing.T) {
	alice, bob := fixture.PublicKey(), fixture.PublicKey()
	path := filepath.Join(t.TempDir(), "allowed_signers")
	writeFile(t, path, "alice cert-authority "+keyText(alice)+"\nalice restrict "+keyText(alice)+
		"\nnonsense\nbob "+keyText(bob), 0o644)
	a, err := ReadAllowedSigners(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range a.Unusable() {
		got = append(got, line.Error())
	}
	want := []string{
		path + ":1: cert-authority is not supported", path + `:2: unknown option "restrict"`,
		path + ":3: there is no key after the principals",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = a.Judge("refship", ssh.FingerprintSHA256(alice), noon)
	fixture.WantFault(t, fault.Corrupt, err, " is not an allowed signer: "+path+":1: cert-authority", "a line of its own")
	if who, err := a.Judge("refship", ssh.FingerprintSHA256(bob), noon); who != "bob" || err != nil {
		t.Errorf("%q, %v", who, err)
	}
}

func TestMergeSigners(t *testing.T) {
	server, alice, broken := fixture.PublicKey(), fixture.PublicKey(), fixture.PublicKey()
	a := NewAllowedSigners("this server's own key", &Signer{Principals: "here", Namespaces: "refship", PublicKey: server})
	a.Merge(mustParseSigners(t, "alice "+keyText(alice)+"\nbroken restrict "+keyText(broken)+
		"\nhere valid-before=\"20000101Z\" "+keyText(server)))
	a.Merge(new(AllowedSigners))
	for want, key := range map[string]ssh.PublicKey{"here": server, "alice": alice} {
		if who, err := a.Judge("refship", ssh.FingerprintSHA256(key), noon); who != want || err != nil {
			t.Errorf("%q, %v, want %q", who, err, want)
		}
	}
	_, err := a.Judge("git", ssh.FingerprintSHA256(server), noon)
	fixture.WantError(t, err, nil, "(this server's own key)", "")
	_, err = a.Judge("refship", ssh.FingerprintSHA256(broken), noon)
	fixture.WantError(t, err, nil, "FILE:2: unknown option", "remove it")
	if lines := a.Unusable(); len(lines) != 1 {
		t.Errorf("%v", lines)
	}
	b := new(AllowedSigners)
	b.Merge(a)
	_, err = b.Judge("refship", ssh.FingerprintSHA256(broken), noon)
	fixture.WantError(t, err, nil, "FILE:2: unknown option", "remove it")
}

func TestReadAllowedSignersRefuses(t *testing.T) {
	dir := t.TempDir()
	line := "alice " + keyText(fixture.PublicKey()) + "\n"
	fifo, big, long, open := filepath.Join(dir, "fifo"), filepath.Join(dir, "big"), filepath.Join(dir, "long"),
		filepath.Join(dir, "open")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, big, strings.Repeat("#", maxSigners)+"\n", 0o600)
	writeFile(t, long, strings.Repeat("\n", maxSignerLines)+line, 0o600)
	writeFile(t, open, line, 0o666)
	for path, c := range map[string]struct{ message, remedy string }{
		fifo: {"fifo is a FIFO, not a file", ""}, dir: {"is a directory, not a file", ""},
		os.DevNull: {", not a file", ""},
		big:        {"big has more than 1048576 bytes", "remove lines"},
		long:       {"long has more than 10000 lines", "remove lines"},
		open:       {"open has mode 0666: others may write it", "chmod 600 "},
	} {
		a, err := ReadAllowedSigners(path)
		fixture.WantError(t, err, nil, c.message, c.remedy)
		if a != nil {
			t.Errorf("%s gives signers all the same", path)
		}
	}
	if _, err := ReadAllowedSigners(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	// At its bounds a file is good.
	writeFile(t, long, strings.Repeat("\n", maxSignerLines-1)+line, 0o664)
	writeFile(t, big, strings.Repeat("#", maxSigners-len(line)-1)+"\n"+line, 0o600)
	for _, path := range []string{long, big} {
		if _, err := ReadAllowedSigners(path); err != nil {
			t.Error(err)
		}
	}
}

func TestAppendSigners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "allowed_signers")
	old, other := fixture.PublicKey(), fixture.PublicKey()
	line := Signer{Principals: "here", Namespaces: "refship", Before: noon, PublicKey: old, Comment: "the old one"}
	if err := AppendSigners(path, &line); err != nil {
		t.Fatal(err)
	}
	want := `here namespaces="refship",valid-before="20260701120000Z" ` + keyText(old) + " the old one\n"
	if got := readFile(t, path); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// What is there stays, also where its last line does not end, and a link stays a link.
	writeFile(t, path, "# mine", 0o600)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	second := Signer{Principals: "there", Namespaces: "*", PublicKey: other}
	if err := AppendSigners(link, &line, &second); err != nil {
		t.Fatal(err)
	}
	if got, want := readFile(t, path), "# mine\n"+want+"there "+keyText(other)+"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// Nothing is written that could not be read back.
	before := readFile(t, path)
	for _, bad := range []Signer{
		{Principals: "", Namespaces: "*", PublicKey: other},
		{Principals: "two\nlines", Namespaces: "*", PublicKey: other},
		{Principals: "a", Namespaces: "*", PublicKey: other, Comment: strings.Repeat("x", maxLine)},
	} {
		if err := AppendSigners(path, &second, &bad); err == nil || readFile(t, path) != before {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestPrincipal(t *testing.T) {
	for name, want := range map[string]string{
		"git.example.com": "git.example.com", "h1": "h1", "me@home": "me@home", "": "-",
		"a b,c*d?!#\"e\n": "a-b-c-d----e-", "häuschen": "h-uschen",
	} {
		if got := Principal(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
		s := Signer{Principals: Principal(name), Namespaces: "refship", PublicKey: fixture.PublicKey()}
		if got, err := parseSigner([]byte(s.Line()), time.UTC); err != nil || got.Principals != want {
			t.Errorf("%s is read as %v, %v", s.Line(), got, err)
		}
	}
}
