package text

import (
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 712: "712 B", 1023: "1023 B", 1 << 10: "1 KiB", 3174: "3.1 KiB", 1 << 20: "1 MiB", 3 << 19: "1.5 MiB",
		1e9:     "953.7 MiB",
		1 << 30: "1 GiB", 8 << 30: "8 GiB", 1 << 40: "1 TiB", 1<<63 - 1: "8 EiB",
	} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) is %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{712: "712 B", 1 << 10: "1 KiB (1024 bytes)", 3174: "3.1 KiB (3174 bytes)"} {
		if got := ExactSize(n); got != want {
			t.Errorf("ExactSize(%d) is %s, want %s", n, got, want)
		}
	}
}

func TestFree(t *testing.T) {
	if got := Free(3<<19, 0); got != "1.5 MiB are free" {
		t.Error(got)
	}
	if got := Free(3<<19, 1<<20); got != "1.5 MiB are free, 1 MiB of them for other pushes" {
		t.Error(got)
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int]string{0: "0 repositories, 0 files", 1: "1 repository, 1 file",
		2: "2 repositories, 2 files"} {
		if got := Plural(n, "repository", "repositories") + ", " + Count(n, "file"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for want, names := range map[string][]string{"": nil, "a": {"a"}, "a, b, c, d, e": {"a", "b", "c", "d", "e"},
		"a, b, c, d, e and 2 more": {"a", "b", "c", "d", "e", "f", "g"}} {
		if got := FirstFew(names); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", -time.Hour: "in 1 hour", -day: "in 1 day", -800 * day: "in 2 years",
		9 * time.Second: "just now", 10 * time.Second: "10 seconds ago", time.Minute: "1 minute ago",
		59*time.Minute + 59*time.Second: "59 minutes ago", time.Hour: "1 hour ago", day: "yesterday", 2 * day: "2 days ago",
		59 * day: "59 days ago", 60 * day: "2 months ago", 729 * day: "24 months ago", 730 * day: "2 years ago",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%s) is %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 ms", 11*time.Millisecond + 900*time.Microsecond: "11 ms",
		10 * time.Second: "10s", 80 * time.Second: "1m20s"} {
		if got := Took(d); got != want {
			t.Errorf("Took(%s) is %s, want %s", d, got, want)
		}
	}
}

func TestMention(t *testing.T) {
	for s, want := range map[string]string{"": `""`, "plain text": "plain text", "tschüß": "tschüß", "a\nb": `"a\nb"`,
		"ü\x1b": `"\u00fc\x1b"`, "\xff": `"\xff"`} {
		if got := Mention(s); got != want {
			t.Errorf("Mention(%q) is %s, want %s", s, got, want)
		}
	}
}

// FuzzPrintable: whatever comes from outside, nothing in it reaches a terminal that is not printable.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"plain", "tschüß", "a\nb", "\x1b[2J", "bidi \u202e", "\xff", `\n`, "'", `"`, "\u00a0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, got := range map[string]string{"Printable": Printable(s), "Mention": Mention(s),
			"QuotePath": QuotePath(s)} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s(%q) is %q", name, s, got)
			}
		}
		if once := Printable(s); Printable(once) != once {
			t.Errorf("%q changes when it is done twice", once)
		}
	})
}

// FuzzQuote asks a shell what it makes of a word.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain", "with space", "it's", `a\b`, "$HOME", "a\nb\n", "-n", "*", "~", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "\x00") {
			t.Skip("no argument holds a NUL")
		}
		out, err := exec.Command("sh", "-c", "printf %s. "+Quote(s)).Output()
		if err != nil || string(out) != s+"." {
			t.Errorf("%q is quoted as %s, which is %q, %v", s, Quote(s), out, err)
		}
	})
}
