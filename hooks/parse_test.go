package hooks

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

const (
	oidA = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
	oidB = "5d6e7f80a1b2c3d4e5f60718293a4b5c6d7e8f90"
)

func TestParseUpdates(t *testing.T) {
	got, err := parseUpdates([]byte(oidA + " " + oidB + " refs/heads/main\n" + zeroOID + " " + oidA + " refs/tags/v1\n"))
	a, _ := git.ParseOID(oidA)
	b, _ := git.ParseOID(oidB)
	want := []RefUpdate{{Ref: "refs/heads/main", Old: a, New: b}, {Ref: "refs/tags/v1", New: a}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(git.OID{})); diff != "" || err != nil {
		t.Errorf("updates (-want +got), %v:\n%s", err, diff)
	}
	for name, c := range map[string]struct{ input, says string }{
		"nothing":        {"", "there are none"},
		"no line end":    {oidA + " " + oidB + " refs/heads/main", "has no end"},
		"empty line":     {"\n", "not <old> <new> <ref>"},
		"two fields":     {oidA + " " + oidB + "\n", "not <old> <new> <ref>"},
		"upper case":     {strings.ToUpper(oidA) + " " + oidB + " refs/heads/main\n", "not 40 or 64 lower-case hex digits"},
		"short oid":      {oidA[:39] + " " + oidB + " refs/heads/main\n", "not 40 or 64 lower-case hex digits"},
		"60 digits":      {oidA + oidA[:20] + " " + oidB + " refs/heads/main\n", "not 40 or 64 lower-case hex digits"},
		"two spaces":     {oidA + "  " + oidB + " refs/heads/main\n", "not 40 or 64 lower-case hex digits"},
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
	f.Add([]byte(strings.Repeat("0", 64) + " " + oidA + oidB[:24] + " refs/heads/main\n"))
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
		input = bytes.ReplaceAll(input, []byte(strings.Repeat("0", 64)+" "), []byte(zeroOID+" "))
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

// A step that tells nothing still shows that it goes on, once a second.
func TestLongWorkSpeaksEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		out := &output{every: time.Second, send: func(line string) error { said = append(said, line); return nil }}
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
		want := []string{"/refship/a: reading …", "/refship/a: reading …", "/refship/a: storing 4 of 10 files, 4 KiB of 1 MiB"}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
	})
}

func TestNothingSaidCanMoveACursor(t *testing.T) {
	var said []string
	collect(&said).line("by %s", "eve\x1b[2J\nremote: refship: deploy 7 published\r\xff")
	if diff := cmp.Diff([]string{`by eve\x1b[2J\nremote: refship: deploy 7 published\r\xff`}, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
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
	if diff := cmp.Diff(want, explain(fault.RemedyOf, "refused", all.err())); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
