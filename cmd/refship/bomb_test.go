package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"refship/deploy/fixture"
	"strings"
	"testing"
)

// treeBomb is a tree that is small in a pack, and what becomes of it.
type treeBomb struct {
	name string
	oid  string
	said string
	most int64 // that the server has taken from its start on, in bytes
}

// treeBombMemory is a plan of 256 MiB, as much garbage, and the server.
const treeBombMemory = 768 << 20

// treeBombs stores trees that need 200 KB, 2.6 MB and 25 MB in a pack.
func (w *loadWorld) treeBombs() []treeBomb {
	leaf, thousand := w.smallTree(1), w.smallTree(1000)
	return []treeBomb{
		{"nested", w.object("tree", rawEntries("40000", "d%06d", 1000,
			w.object("tree", rawEntries("40000", "d%06d", 1000, thousand)))),
			"refused: the tree has at least 1001000 files and directories (limit 1000000)", 100 << 20},
		{"wide", w.object("tree", rawEntries("40000", "d%06d", 1_000_000, leaf)),
			"bytes (limit 16777216)", 100 << 20},
		{"distinct", w.distinct(1_000, 300),
			"refused: what changes takes more than 256 MiB of memory", treeBombMemory},
	}
}

// smallTree stores a tree of n files, all the same.
func (w *loadWorld) smallTree(n int) string {
	return w.object("tree", rawEntries("100644", "f%06d", n, w.object("blob", []byte("x"))))
}

// A few megabytes that a pusher sends never become gigabytes of the server's memory, and the next push is as before.
func TestTreeBombs(t *testing.T) {
	w := newLoadWorld(t)
	for _, c := range w.treeBombs() {
		commit := w.must("git", "-C", w.in("work"), "commit-tree", "-m", c.name, c.oid)
		got := w.pushTo(w.Context(), 0, w.in("work"), w.url, commit+":refs/heads/main")
		if got.err == nil || !strings.Contains(got.told, c.said) || !strings.Contains(got.told, "refship: hint: ") {
			t.Errorf("%s: %v\n%s", c.name, got.err, got.told)
		}
		peak := fixture.PeakMemory(t, w.server.cmd.Process.Pid)
		t.Logf("%s: refused after %s, the server has taken %d MiB at most", c.name, got.took, peak>>20)
		if peak > c.most {
			t.Errorf("%s: the server has taken %d bytes", c.name, peak)
		}
	}
	// What just fits, several times over: a dry run gives its memory back.
	wide := w.object("tree", rawEntries("40000", "d%06d", 300_000, w.smallTree(1)))
	commit := w.must("git", "-C", w.in("work"), "commit-tree", "-m", "wide", wide)
	for range 2 {
		cmd := exec.Command("git", "-C", w.in("work"), "push", "-o", "deploy.dry-run", w.url, commit+":refs/heads/main")
		cmd.Env = w.client(0)
		out, _ := cmd.CombinedOutput() // a dry run is refused in the end
		if !bytes.Contains(out, []byte("300000 of 300000 files")) {
			t.Errorf("a dry run says:\n%s", out)
		}
	}
	commit = w.must("git", "-C", w.in("work"), "commit-tree", "-m", "small", w.smallTree(1000))
	if got := w.pushTo(w.Context(), 0, w.in("work"), w.url, commit+":refs/heads/main"); got.err != nil {
		t.Errorf("afterwards: %v\n%s", got.err, got.told)
	}
	if peak := fixture.PeakMemory(t, w.server.cmd.Process.Pid); peak > treeBombMemory {
		t.Errorf("the server has taken %d bytes", peak)
	}
}

// object stores any bytes as an object in the clone, and gives its oid.
func (w *loadWorld) object(typ string, content []byte) string {
	w.Helper()
	cmd := exec.Command("git", "-C", w.in("work"), "hash-object", "-t", typ, "--literally", "-w", "--stdin")
	cmd.Env, cmd.Stdin = w.env, bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		w.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// rawEntries are the bytes of a git tree with n times the same entry under names of this format.
func rawEntries(mode, name string, n int, oid string) []byte {
	var b []byte
	raw := rawOID(oid)
	for i := range n {
		b = fmt.Appendf(b, mode+" "+name+"\x00", i)
		b = append(b, raw...)
	}
	return b
}

func rawOID(oid string) (raw []byte) {
	_, err := fmt.Sscanf(oid, "%x", &raw)
	if err != nil {
		panic(err)
	}
	return raw
}

// distinct stores a tree of n directories of m directories of one file each, no two of them equal.
func (w *loadWorld) distinct(n, m int) string {
	w.Helper()
	var in bytes.Buffer
	in.WriteString("blob\nmark :1\ndata 1\nx\ncommit refs/heads/distinct\ncommitter C <c@example.com> 1700000000 +0000\n" +
		"data 1\nx\n")
	for i := range n * m {
		fmt.Fprintf(&in, "M 100644 :1 d%d/e%d/f%d\n", i/m, i%m, i)
	}
	cmd := exec.Command("git", "-C", w.in("work"), "fast-import", "--quiet")
	cmd.Env, cmd.Stdin = w.env, &in
	if out, err := cmd.CombinedOutput(); err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	return w.must("git", "-C", w.in("work"), "rev-parse", "distinct^{tree}")
}
