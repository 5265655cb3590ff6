package keys

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of these tests

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
)

// stock judges with ssh-keygen, as somebody does who checks a deploy by hand.
type stock struct {
	dir    string
	signer ssh.Signer
}

func newStock(t *testing.T, signer ssh.Signer) *stock {
	t.Helper()
	fixture.Need(t, "ssh-keygen")
	s := &stock{t.TempDir(), signer}
	armored, err := Sign(s.signer, namespace, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(s.dir, "sig"), string(armored), 0o600)
	return s
}

// run asks ssh-keygen -Y about the signature, with a file of that text, at a time, in a zone.
func (s *stock) run(tb rapid.TB, text string, at time.Time, zone, verb string, args ...string) (said string, ok bool) {
	tb.Helper()
	file := filepath.Join(s.dir, "allowed")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	args = append([]string{"-Y", verb, "-f", file, "-s", filepath.Join(s.dir, "sig"),
		"-Overify-time=" + at.UTC().Format(timeFormat) + "Z"}, args...)
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Env = append(os.Environ(), "TZ="+zone, "LC_ALL=C")
	cmd.Stdin = strings.NewReader("message")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return string(out) + stderr.String(), err == nil
}

// allows tells whether ssh-keygen takes the signature for alice's.
func (s *stock) allows(tb rapid.TB, text string, at time.Time, zone string) (said string, ok bool) {
	tb.Helper()
	return s.run(tb, text, at, zone, "verify", "-n", namespace, "-I", "alice")
}

// judge is our own judgement of the same.
func (s *stock) judge(tb rapid.TB, text string, at time.Time, zone string) (string, error) {
	tb.Helper()
	local, err := time.LoadLocation(zone)
	if err != nil {
		tb.Fatal(err)
	}
	a, err := parseSigners("FILE", []byte(text), local)
	if err != nil {
		tb.Fatal(err)
	}
	who, err := a.Judge(namespace, ssh.FingerprintSHA256(s.signer.PublicKey()), at)
	if err != nil {
		for _, line := range a.Unusable() {
			err = errors.Join(err, line)
		}
	}
	return who, err
}

// zones have daylight saving time in summer, in winter, by half an hour, and never.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "Asia/Tokyo",
}

// TestJudgesLikeStockProgram: on lines as people write them, right ones and wrong ones, the two say the same.
func TestJudgesLikeStockProgram(t *testing.T) {
	s := newStock(t, fixture.Signer(1))
	own, other := keyText(s.signer.PublicKey()), keyText(fixture.Signer(2).PublicKey())
	rapid.Check(t, func(t *rapid.T) {
		at := drawTime(t, "at")
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		var text strings.Builder
		for range rapid.IntRange(1, 3).Draw(t, "lines") {
			text.WriteString(drawLine(t, at, zone, own, other))
		}
		said, want := s.allows(t, text.String(), at, zone)
		who, err := s.judge(t, text.String(), at, zone)
		if (err == nil) != want {
			t.Fatalf("%s\nat %s, %s: ssh-keygen says\n%s\nrefship says %q, %v", text.String(), at, zone, said, who, err)
		}
	})
}

func drawTime(t *rapid.T, label string) time.Time {
	return time.Unix(rapid.Int64Range(1_000_000_000, 2_000_000_000).Draw(t, label), 0)
}

func drawLine(t *rapid.T, at time.Time, zone, own, other string) string {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	if rapid.IntRange(0, 9).Draw(t, "comment?") == 0 {
		return pick("comment", "\n", " \t\n", "# a comment\n", "\t#alice "+own+"\n")
	}
	line := pick("lead", "", "", "", " ", "\t") +
		pick("principals", "alice", "alice", "bob@x.example,alice", "*", "!bob,*", "al?ce", `"alice"`, `al"ice"`) +
		pick("gap", " ", " ", " ", "\t", "  ")
	if rapid.Bool().Draw(t, "options?") {
		line += pick("before", "", "", "", "", ",")
		for i := range rapid.IntRange(1, 3).Draw(t, "options") {
			if i > 0 {
				line += pick("comma", ",", ",", ",", ",", ",,", "")
			}
			line += drawOption(t, at, zone)
		}
		line += pick("behind", " ", " ", " ", " ", "\t", ", ", "x ", "")
	}
	kind, encoded, _ := strings.Cut(own, " ")
	return line + pick("key", own, own, own, own, own, own, other, kind+"  \t"+encoded, encoded, kind, "",
		"ssh-rsa "+encoded, own[:len(own)-4], strings.Replace(own, "AAAA", "AAAB", 1)) +
		pick("comment", "", "", " me@home", "\ta  b", ` "`) + pick("end", "\n", "\n", "\n", "\r\n", " \n")
}

func drawOption(t *rapid.T, at time.Time, zone string) string {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	switch pick("option", "namespaces", "after", "before", "after", "before", "wrong") {
	case "namespaces":
		return pick("word", "namespaces", "namespaces", "NAMESPACES", "Namespaces") +
			`="` + pick("patterns", "refship", "refship", "ref*", "?efship", "git", "git,refship", "!refship,*", "!git,*", "",
			"REFSHIP", `ref\"ship`, "*ship*", "refship,", ",", "refship ", `refship\`) + `"`
	case "after":
		return pick("word", "valid-after", "valid-after", "Valid-After") + `="` + drawWhen(t, at, zone) + `"`
	case "before":
		return pick("word", "valid-before", "valid-before", "VALID-BEFORE") + `="` + drawWhen(t, at, zone) + `"`
	}
	return pick("wrong", "cert-authority", "Cert-Authority", "no-touch-required", `restrict="x"`, "namespaces",
		"namespaces=x", `namespaces="x`, `valid-after=""`, `valid-after="2026"`, `valid-before="20261301Z"`,
		`valid-before="20260001"`, `valid-before="202601012400Z"`, `valid-after="19700101Z"`,
		`valid-after="2026-07-01"`, `="x"`, `"`, `\"`)
}

// drawWhen writes a time close to at, so that it matters.
func drawWhen(t *rapid.T, at time.Time, zone string) string {
	local, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	near := rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
		24 * time.Hour, 200 * 24 * time.Hour}).Draw(t, "near")
	if rapid.Bool().Draw(t, "earlier?") {
		near = -near
	}
	digits := rapid.SampledFrom([]int{8, 12, 14, 14}).Draw(t, "digits")
	suffix := rapid.SampledFrom([]string{"", "", "Z", "z", "UTC"}).Draw(t, "suffix")
	if suffix != "" {
		local = time.UTC
	}
	return at.Add(near).In(local).Format(timeFormat[:digits]) + suffix
}

// TestSummerTimeLikeStockProgram: without Z, a time in summer is an hour later than the clocks there say.
func TestSummerTimeLikeStockProgram(t *testing.T) {
	s := newStock(t, fixture.Signer(1))
	for option, at := range map[string]time.Time{ // the first second that is valid
		`valid-after="20260701"`:        time.Date(2026, 6, 30, 23, 0, 0, 0, time.UTC),
		`valid-after="20260101"`:        time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC),
		`valid-after="202603290230"`:    time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC),  // the clocks skip that time
		`valid-after="202610250230"`:    time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC), // and show this one twice
		`valid-after="20260630230000Z"`: time.Date(2026, 6, 30, 23, 0, 0, 0, time.UTC),
		`valid-after="202607010000utc"`: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
	} {
		line := "alice " + option + " " + keyText(s.signer.PublicKey()) + "\n"
		for at, want := range map[time.Time]bool{at: true, at.Add(-time.Second): false} {
			said, stock := s.allows(t, line, at, "Europe/Berlin")
			_, err := s.judge(t, line, at, "Europe/Berlin")
			if stock != want || (err == nil) != want {
				t.Errorf("%s at %s: ssh-keygen says %v, %s; refship says %v; want %v", option, at, stock, said, err, want)
			}
		}
	}
}

// TestNeverLaxerThanStockProgram changes any bytes behind the principals: whom refship then allows, ssh-keygen allows.
func TestNeverLaxerThanStockProgram(t *testing.T) {
	s := newStock(t, fixture.Signer(1))
	own := keyText(s.signer.PublicKey())
	at, zone := noon, "Europe/Berlin"
	lines := []string{
		"alice " + own + "\n",
		`alice namespaces="refship" ` + own + " me@home\n",
		`alice valid-after="20260701",namespaces="git,ref*",valid-before="202607011400Z" ` + own + "\n",
	}
	rapid.Check(t, func(t *rapid.T) {
		line := []byte(rapid.SampledFrom(lines).Draw(t, "line"))
		options := bytes.Index(line, []byte("ssh-")) + 4
		for range rapid.IntRange(1, 2).Draw(t, "changes") {
			last := len(line) - 1
			if rapid.Bool().Draw(t, "in front?") { // of the key, where there is more to go wrong
				last = min(last, options)
			}
			place := rapid.IntRange(len("alice "), last).Draw(t, "place")
			changed := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\"\\, \t=*!?Z0\n\r#"))).Draw(t, "byte")
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				line[place] = changed
			case 1:
				line = slices.Insert(line, place, changed)
			default:
				line = slices.Delete(line, place, place+1)
			}
		}
		if bytes.Contains(bytes.TrimSuffix(line, []byte("\n")), []byte("\n")) {
			return // two lines: ssh-keygen stops at a broken one, and refship goes on
		}
		if who, err := s.judge(t, string(line), at, zone); err == nil {
			if said, ok := s.allows(t, string(line), at, zone); !ok {
				t.Fatalf("%q: refship allows %s, and ssh-keygen says\n%s", line, who, said)
			}
		}
	})
}

// TestStricterThanStockProgram: these lines ssh-keygen takes, and refship says what is wrong with them.
func TestStricterThanStockProgram(t *testing.T) {
	s := newStock(t, fixture.Signer(1))
	own := keyText(s.signer.PublicKey())
	for line, message := range map[string]string{
		`alice valid-after="20260231" ` + own + "\n":         "no such day",
		`alice valid-before="20270101000060Z" ` + own + "\n": "no such day or time",
		"alice " + own + " \x1b[2J\n":                        "control character",
		"alice " + own + " \xff\n":                           "not UTF-8",
		`alice,namespaces="git" ` + own + "\n":               "there are no principals before the options",
		"alice " + own + " " + strings.Repeat("x", maxLine):  "longer than",
	} {
		if said, ok := s.allows(t, line, noon, "UTC"); !ok {
			t.Errorf("%.60q: ssh-keygen refuses it, too: %s", line, said)
		}
		_, err := s.judge(t, line, noon, "UTC")
		fixture.WantError(t, err, nil, message, "")
	}
	weakPath := keygen(t, "rsa", "-b", "1024")
	signer, err := ssh.ParsePrivateKey([]byte(readFile(t, weakPath)))
	if err != nil {
		t.Fatal(err)
	}
	weak := newStock(t, signer)
	_, err = weak.judge(t, "alice "+keyText(signer.PublicKey())+"\n", noon, "UTC")
	fixture.WantError(t, err, nil, "too weak", "")
}

// TestPrincipalsLikeStockProgram: both name the same people, those of the first line that fits.
func TestPrincipalsLikeStockProgram(t *testing.T) {
	s := newStock(t, fixture.Signer(1))
	own, other := keyText(s.signer.PublicKey()), keyText(fixture.Signer(2).PublicKey())
	text := "eve " + other + "\n" + `old valid-before="20200101Z" ` + own + "\nbroken restrict " + own + "\n" +
		"alice@x " + own + " me\nbob " + own + "\n"
	said, ok := s.run(t, text, noon, "UTC", "find-principals")
	who, err := s.judge(t, text, noon, "UTC")
	if first, _, _ := strings.Cut(said, "\n"); !ok || err != nil || first != "alice@x" || who != first {
		t.Errorf("ssh-keygen finds %q (%v), refship %q (%v)", said, ok, who, err)
	}
}

// TestSignerLineIsGoodForStockProgram: what Line writes, ssh-keygen reads.
func TestSignerLineIsGoodForStockProgram(t *testing.T) {
	s := newStock(t, fixture.Signer(1))
	line := Signer{Principals: Principal("alice"), Namespaces: namespace, PublicKey: s.signer.PublicKey(),
		After: noon.Add(-time.Hour), Before: noon.Add(time.Hour), Comment: "refship signing key of h1"}
	for hours, want := range map[int]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		said, got := s.allows(t, line.Line(), noon.Add(time.Duration(hours)*time.Hour), "Europe/Berlin")
		if got != want {
			t.Errorf("%+d hours: %v, want %v: %s", hours, got, want, said)
		}
	}
}
