package intent

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/target"
)

const (
	firstOID  = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
	secondOID = "5d6e7f80a1b2c3d4e5f60718293a4b5c6d7e8f90"
)

func anIntent() *Intent {
	return &Intent{
		Format: 1, Push: strings.Repeat("0f", 16), Time: time.Date(2026, 11, 23, 14, 0, 0, 5, time.UTC), Repository: "config",
		Pusher:  record.Pusher{Name: "laptop", Key: "SHA256:abc", Via: "ssh"},
		Options: []string{"ci.skip", "deploy.force", "deploy.reason=the old line is given up"},
		Deploys: []Entry{{
			Target: target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/config", Frontend: record.Files,
				Check: "make check"},
			Old: fixture.OID(firstOID), New: fixture.OID(secondOID), Head: 7,
			Forced: true, ForcedHead: 7, Reason: "the old line is given up",
		}},
	}
}

func TestIntentsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := func(name string) git.OID {
			return fixture.OID(rapid.StringMatching(`1[0-9a-f]{39}([0-9a-f]{24})?`).Draw(t, name))
		}
		in := anIntent()
		in.Pusher.Name = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}`).Draw(t, "user")
		in.Pusher.Key = rapid.String().Draw(t, "key")
		in.Options = rapid.SliceOf(rapid.String()).Draw(t, "options")
		in.Certificate = rapid.SampledFrom([]string{"", firstOID}).Draw(t, "certificate")
		in.Deploys = nil
		for i := range rapid.IntRange(1, 4).Draw(t, "targets") {
			in.Deploys = append(in.Deploys, Entry{
				Target: target.Target{
					Name: fmt.Sprintf("t%d", i), Ref: "refs/heads/" + rapid.StringMatching(`[a-z0-9üé]{1,20}`).Draw(t, "ref"),
					Path:      rapid.StringMatching(`([a-zA-Z0-9 "<&\\ü]{1,9}(/[a-z]{1,9}){0,3})?`).Draw(t, "path"),
					Namespace: record.Namespace(fmt.Sprintf("/refship/t%d", i)), Frontend: record.Files,
					Check: rapid.StringMatching(`([!-~üé] ?[ -~\tü]{0,20})?`).Draw(t, "check"),
				},
				Old: hash("old"), New: hash("new"), Head: record.ID(rapid.Uint64().Draw(t, "head")),
				Forced:     rapid.Bool().Draw(t, "forced"),
				ForcedHead: record.ID(rapid.Uint64().Draw(t, "forced_head")), Reason: rapid.String().Draw(t, "reason"),
			})
		}
		text, err := in.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseIntent(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(in, got, fixture.EqualOIDs); diff != "" {
			t.Errorf("intent (-want +got):\n%s", diff)
		}
	})
}

// The package's documentation shows an intent as it is written.
func TestDocumentedIntent(t *testing.T) {
	text, err := anIntent().encode()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if want := "//\t" + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n//\t") +
		"\n"; !strings.Contains(string(doc), want) {
		t.Errorf("doc.go does not have\n%s", want)
	}
}

// However one byte changes: it is refused, or it is an intent that could have been written.
func TestIntentWithAnyByteChanged(t *testing.T) {
	text, err := anIntent().encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for _, b := range []byte{0, ' ', '"', '9', 'f', '}', 0xff, text[i] ^ 1, text[i] ^ 0x20} {
			changed := bytes.Clone(text)
			changed[i] = b
			checkParsed(t, changed)
		}
		checkParsed(t, text[:i])
	}
}

func FuzzParseIntent(f *testing.F) {
	text, err := anIntent().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, text []byte) { checkParsed(t, text) })
}

func checkParsed(t *testing.T, text []byte) {
	t.Helper()
	in, err := parseIntent(text)
	if err != nil {
		return
	}
	for _, w := range in.Deploys {
		if err := w.Target.Validate(); err != nil || w.New.IsZero() {
			t.Errorf("%q: %v", text, err)
		}
	}
	again, err := in.encode()
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	got, err := parseIntent(again)
	if err != nil {
		t.Fatalf("%q: %v", again, err)
	}
	if diff := cmp.Diff(in, got, fixture.EqualOIDs); diff != "" {
		t.Errorf("intent (-want +got):\n%s", diff)
	}
}

func TestIntentFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "objects"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := anIntent()
	second := in.Deploys[0]
	second.Target.Name, second.Target.Namespace = "site", "/refship/site"
	in.Deploys = append(in.Deploys, second)
	if err := in.Write(dir); err != nil {
		t.Fatal(err)
	}
	list := func() []string {
		pushes, err := List(dir)
		if err != nil {
			t.Fatal(err)
		}
		return pushes
	}
	if diff := cmp.Diff([]string{in.Push}, list()); diff != "" {
		t.Error(diff)
	}
	if err := in.Drop(dir, "default"); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir, in.Push)
	if err != nil || len(got.Deploys) != 1 || got.Deploys[0].Target.Name != "site" {
		t.Errorf("intent is %+v, %v", got, err)
	}
	if err := in.Drop(dir, "site"); err != nil {
		t.Fatal(err)
	}
	if err := in.Drop(dir, "site"); err != nil { // once more does no harm
		t.Fatal(err)
	}
	pending := filepath.Join(dir, "refship", "pending")
	if files, err := os.ReadDir(pending); err != nil || len(files) != 0 {
		t.Errorf("files are %v, %v", files, err)
	}
	// Who shares the repository may read what another account's push has left, and take it away.
	if err := os.RemoveAll(filepath.Dir(pending)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "objects"), 0o770|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := in.Write(dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{pending: fs.ModeDir | fs.ModeSetgid | 0o770,
		Path(dir, in.Push): 0o640} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %s, want %s, %v", path, info.Mode(), want, err)
		}
	}
	if err := in.Write(filepath.Join(dir, "absent")); err == nil {
		t.Error("an intent in no repository is written")
	}
}
