package record_test

import (
	"testing"

	"refship/deploy/record"
	"refship/deploy/text"
)

func TestHolderSaysWhatIsKnown(t *testing.T) {
	since := `"since":"2026-01-02T03:04:05Z"`
	for value, want := range map[string]string{
		`{"user":"bob","ref":"refs/heads/fix","repository":"config","host":"h",` + since +
			`}`: "bob (refs/heads/fix of config, on h) since 2026-01-02T03:04:05Z",
		`{"user":"x"}`:                     "x",
		`{"user":"x","host":"h"}`:          "x (on h)",
		`{"user":"x","ref":"r"}`:           "x (r)",
		`{"repository":"c",` + since + `}`: "an unknown user (c) since 2026-01-02T03:04:05Z",
		`{}`:                               "{}",
		`not JSON`:                         "not JSON",
		``:                                 "an unknown user",
	} {
		if got := record.ParseHolder([]byte(value)).String(); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func FuzzHold(f *testing.F) {
	for _, s := range []string{"", "text", "null", "{}", `{"user":"ops","since":"2026-01-02T03:04:05Z"}`,
		`{"user":"\u001b"}`, "\xff", `{"since":"9999-12-31T23:59:59+23:59"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		h := record.ParseHold(value)
		if h == nil {
			t.Fatal("whatever is there holds")
		}
		if words := h.String(); len(words) > 20_000 || text.Printable(words) != words {
			t.Errorf("%q says %q", value, words)
		}
	})
}
