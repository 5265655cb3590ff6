package git_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
)

func packet(band byte, text string) string { return fmt.Sprintf("%04x%c%s", len(text)+5, band, text) }

// TestFlawWatch: the first flaw is found wherever git's words are cut, and not in what is no word of git's.
func TestFlawWatch(t *testing.T) {
	oid, other := strings.Repeat("1a", 20), strings.Repeat("2b", 20)
	line := "error: object " + oid + ": zeroPaddedFilemode: contains zero-padded file modes\n"
	advertised := fmt.Sprintf("%04x%s refs/heads/main\n0000", 4+40+17, oid)
	want := git.Flaw{Object: oid, ID: "zeroPaddedFilemode"}
	later := "error: object " + other + ": badTimezone: bad\n"
	for name, c := range map[string]struct {
		said string
		want git.Flaw
	}{
		"whole": {advertised + packet(2, "warning: x\n"+line+later) + "0000", want},
		"cut": {advertised + packet(2, "warning: x\n"+line[:20]) + "0005\x02" + packet(2, line[20:70]) +
			packet(2, line[70:]+later) + "0000", want},
		"empty":     {advertised + "00040005\x01" + packet(1, "unpack ok\n") + packet(2, line), want},
		"band 1":    {packet(1, line), git.Flaw{}},
		"no end":    {packet(2, strings.TrimSpace(line)), git.Flaw{}},
		"a warning": {packet(2, "warning: object "+oid+": badEmail: x\n"), git.Flaw{}},
		"later":     {packet(2, "see: "+line), git.Flaw{}},
		"no packet": {"zzzz" + packet(2, line), git.Flaw{}},
		"nothing":   {"", git.Flaw{}},
		"long":      {packet(2, strings.Repeat("x", 40_000)+"\n") + packet(2, line), want},
	} {
		for size := range 40 {
			var f git.FlawWatch
			w := f.On(io.Discard)
			for part := range slices.Chunk([]byte(c.said), size+1) {
				if n, err := w.Write(part); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			if got := f.Found(); got != c.want {
				t.Errorf("%s, %d bytes at a time: got %+v", name, size+1, got)
			}
		}
	}
}

// TestCheckFsck: only what this git's receive-pack makes something of is taken; nothing is written.
func TestCheckFsck(t *testing.T) {
	g := fixture.NewRepository(t)
	for _, good := range []string{"zeroPaddedFilemode=ignore", "badtimezone=warn", "badEmail=error"} {
		id, level, _ := strings.Cut(good, "=")
		if err := git.CheckFsck(t.Context(), g.Dir, id, level); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"zeroPaddedFilemodes=ignore", "nulInHeader=ignore", "badEmail=no", "badEmail", "=ignore",
		"skipList=/x", "a,badEmail=ignore", "--help=ignore"} {
		id, level, _ := strings.Cut(bad, "=")
		err := git.CheckFsck(t.Context(), g.Dir, id, level)
		if fault.KindOf(err) != fault.Usage || fault.RemedyOf(err) == "" {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	if all, err := git.ReadFsck(t.Context(), g.Dir); len(all) != 0 || err != nil {
		t.Errorf("got %q, %v", all, err)
	}
	g.Git("config", git.FsckKey("zeroPaddedFilemode"), "ignore")
	g.Git("config", git.FsckKey("badEmail"), "warn")
	g.Git("config", "receive.fsck.skipList", "/x")
	all, err := git.ReadFsck(t.Context(), g.Dir)
	if !slices.Equal(all, []string{"bademail=warn", "zeropaddedfilemode=ignore"}) || err != nil {
		t.Errorf("got %q, %v", all, err)
	}
}
