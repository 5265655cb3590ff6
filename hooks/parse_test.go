package hooks

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

const (
	oidA = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
	oidB = "5d6e7f80a1b2c3d4e5f60718293a4b5c6d7e8f90"
)

func TestParseUpdates(t *testing.T) {
	got, err := parseUpdates([]byte(oidA + " " + oidB + " refs/heads/main\n" + zeroOID + " " + oidA + " refs/tags/v1\n"))
	want := []RefUpdate{
		{Ref: "refs/heads/main", Old: plumbing.NewHash(oidA), New: plumbing.NewHash(oidB)},
		{Ref: "refs/tags/v1", New: plumbing.NewHash(oidA)},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("updates (-want +got), %v:\n%s", err, diff)
	}
	for name, c := range map[string]struct{ input, says string }{
		"nothing":        {"", "there are none"},
		"no line end":    {oidA + " " + oidB + " refs/heads/main", "has no end"},
		"empty line":     {"\n", "not <old> <new> <ref>"},
		"two fields":     {oidA + " " + oidB + "\n", "not <old> <new> <ref>"},
		"upper case":     {strings.ToUpper(oidA) + " " + oidB + " refs/heads/main\n", "40 lower-case hex digits"},
		"short oid":      {oidA[:39] + " " + oidB + " refs/heads/main\n", "40 lower-case hex digits"},
		"SHA-256":        {oidA + oidA[:24] + " " + oidB + " refs/heads/main\n", "refship serves SHA-1 repositories"},
		"two spaces":     {oidA + "  " + oidB + " refs/heads/main\n", "40 lower-case hex digits"},
		"short ref":      {oidA + " " + oidB + " main\n", `ref name "main"`},
		"refs alone":     {oidA + " " + oidB + " refs/stash\n", "ref name"},
		"HEAD":           {oidA + " " + oidB + " HEAD\n", "ref name"},
		"dots":           {oidA + " " + oidB + " refs/heads/../x\n", "ref name"},
		"lock":           {oidA + " " + oidB + " refs/heads/x.lock\n", "ref name"},
		"space":          {oidA + " " + oidB + " refs/heads/x y\n", "ref name"},
		"NUL":            {oidA + " " + oidB + " refs/heads/x\x00\n", "ref name"},
		"carriage":       {oidA + " " + oidB + " refs/heads/x\r\n", "ref name"},
		"the same twice": {strings.Repeat(oidA+" "+oidB+" refs/heads/main\n", 2), "comes twice"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseUpdates([]byte(c.input)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("updates are %v, error is %v, want %q", got, err, c.says)
			}
		})
	}
}

const zeroOID = "0000000000000000000000000000000000000000"

// What is accepted is exactly what writing it again gives.
func FuzzParseUpdates(f *testing.F) {
	f.Add([]byte(oidA + " " + oidB + " refs/heads/main\n"))
	f.Add([]byte(zeroOID + " " + oidB + " refs/heads/a/b\n" + oidA + " " + zeroOID + " refs/tags/v1\n"))
	f.Add([]byte(oidA + " " + oidB + " refs/heads/\xff\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		updates, err := parseUpdates(input)
		if err != nil {
			if updates != nil {
				t.Errorf("updates with an error: %v", updates)
			}
			return
		}
		var again bytes.Buffer
		for _, u := range updates {
			fmt.Fprintf(&again, "%s %s %s\n", u.Old, u.New, u.Ref)
		}
		if !bytes.Equal(again.Bytes(), input) {
			t.Errorf("read %q, would write %q", input, again.Bytes())
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("v\x00\x00\x00\x03a=bi\x00\x00\x00\x02xye\x00\x00\x00\x00"))
	f.Add([]byte("v\x00\x00\x00\x01a"))
	f.Add([]byte("i\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		req, err := readRequest(bytes.NewReader(sent))
		if err != nil {
			return
		}
		size := len(req.input)
		for name, value := range req.vars {
			size += len(name) + len(value)
		}
		if size > len(sent) {
			t.Errorf("%d bytes out of %d", size, len(sent))
		}
	})
}

func anIntent() *intent {
	return &intent{
		Format: 1, Push: strings.Repeat("0f", 16), Time: time.Date(2026, 11, 23, 14, 0, 0, 5, time.UTC), Repository: "config",
		Pusher: record.Pusher{Name: "laptop", Key: "SHA256:abc", Via: "ssh"}, Options: []string{"ci.skip", "deploy.force", "deploy.reason=the old line is given up"},
		Deploys: []wish{{
			Target: target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/config", Frontend: record.Files, Check: "make check"},
			Old:    oid(plumbing.NewHash(oidA)), New: oid(plumbing.NewHash(oidB)), Head: 7,
			Forced: true, Over: 7, Reason: "the old line is given up",
		}},
	}
}

func TestIntentsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := func(name string) oid { return oid(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, name)) }
		in := anIntent()
		in.Pusher.Name = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}`).Draw(t, "user")
		in.Pusher.Key = rapid.String().Draw(t, "key")
		in.Options = rapid.SliceOf(rapid.String()).Draw(t, "options")
		in.Certificate = rapid.SampledFrom([]string{"", oidA}).Draw(t, "certificate")
		in.Deploys = nil
		for i := range rapid.IntRange(1, 4).Draw(t, "targets") {
			in.Deploys = append(in.Deploys, wish{
				Target: target.Target{
					Name: fmt.Sprintf("t%d", i), Ref: "refs/heads/" + rapid.StringMatching(`[a-z0-9üé]{1,20}`).Draw(t, "ref"),
					Path:      rapid.StringMatching(`([a-zA-Z0-9 "<&\\ü]{1,9}(/[a-z]{1,9}){0,3})?`).Draw(t, "path"),
					Namespace: record.Namespace(fmt.Sprintf("/refship/t%d", i)), Frontend: record.Files,
					Check: rapid.StringMatching(`([!-~üé] ?[ -~\tü]{0,20})?`).Draw(t, "check"),
				},
				Old: hash("old"), New: hash("new"), Head: record.ID(rapid.Uint64().Draw(t, "head")), Forced: rapid.Bool().Draw(t, "forced"),
				Over: record.ID(rapid.Uint64().Draw(t, "over")), Reason: rapid.String().Draw(t, "reason"),
			})
			in.Deploys[i].New[0] |= 1 // never zero
		}
		text, err := in.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseIntent(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(in, got); diff != "" {
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
	if want := "//\t" + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n//\t") + "\n"; !strings.Contains(string(doc), want) {
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
		if err := w.Target.Validate(); err != nil || plumbing.Hash(w.New).IsZero() {
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
	if diff := cmp.Diff(in, got); diff != "" {
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
	if err := in.write(dir); err != nil {
		t.Fatal(err)
	}
	list := func() []string {
		pushes, err := listIntents(dir)
		if err != nil {
			t.Fatal(err)
		}
		return pushes
	}
	if diff := cmp.Diff([]string{in.Push}, list()); diff != "" {
		t.Error(diff)
	}
	if err := in.drop(dir, "default"); err != nil {
		t.Fatal(err)
	}
	got, err := readIntent(dir, in.Push)
	if err != nil || len(got.Deploys) != 1 || got.Deploys[0].Target.Name != "site" {
		t.Errorf("intent is %+v, %v", got, err)
	}
	if err := in.drop(dir, "site"); err != nil {
		t.Fatal(err)
	}
	if err := in.drop(dir, "site"); err != nil { // once more does no harm
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
	if err := in.write(dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{pending: fs.ModeDir | fs.ModeSetgid | 0o770, intentPath(dir, in.Push): 0o640} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %s, want %s, %v", path, info.Mode(), want, err)
		}
	}
	if err := in.write(filepath.Join(dir, "absent")); err == nil {
		t.Error("an intent in no repository is written")
	}
}

// A step that tells nothing still shows that it goes on, once a second.
func TestLongWorkSpeaksEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said lines
		out := newSpeaker(time.Second, overConn(&said), func(error) {})
		err := out.during("/refship/a: ", "reading", func(progress func(text.Progress)) error {
			time.Sleep(2500 * time.Millisecond)
			progress(text.Progress{Step: "storing", Files: 3, FilesTotal: 10, Bytes: 2048, BytesTotal: 1 << 20})
			progress(text.Progress{Step: "storing", Files: 4, FilesTotal: 10, Bytes: 4096, BytesTotal: 1 << 20})
			time.Sleep(time.Second)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := lines{said: "refship: /refship/a: reading …\nrefship: /refship/a: reading …\nrefship: /refship/a: storing 4 of 10 files, 4 KiB of 1 MiB\n"}
		if said.said != want.said {
			t.Errorf("said %q, want %q", said.said, want.said)
		}
	})
}

func TestNothingSaidCanMoveACursor(t *testing.T) {
	var said lines
	out := newSpeaker(0, overConn(&said), func(error) {})
	out.line("by %s", "eve\x1b[2J\nremote: refship: deploy 7 published\r\xff")
	if want := `refship: by eve\x1b[2J\nremote: refship: deploy 7 published\r\xff` + "\n"; said.said != want {
		t.Errorf("said %q, want %q", said.said, want)
	}
}

func TestExplainTellsEachRefusalOnce(t *testing.T) {
	var all refusals
	all.add(&fault.Error{Kind: fault.Refused, What: "a may not", Remedy: "ask"})
	all.add(&fault.Error{Kind: fault.Refused, What: "a may not", Remedy: "ask"})
	all.add(&fault.Error{Kind: fault.Refused, What: "b may not", Remedy: "ask"})
	head := &record.Deploy{ID: 8, Hash: oidA}
	all.add(&deploy.ConflictError{Namespace: "/refship/config", Head: head, Why: "your x does not contain it", Remedy: "pull"})
	want := []string{
		"refused: a may not", "hint: ask",
		"refused: b may not",
		"refused: /refship/config is at deploy 8, 1a2b3c4, by another writer", "your x does not contain it", "hint: pull",
	}
	if diff := cmp.Diff(want, explain("refused", all.err())); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
