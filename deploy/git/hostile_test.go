package git

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"refship/deploy/fixture"
)

// hostile is a work tree whose git config and hooks name a program wherever git could run one while it is only looked
// at. The program leaves a file for each kind of call.
type hostile struct {
	testing.TB
	tree, ran string
}

func newHostile(t *testing.T) *hostile {
	dir := t.TempDir()
	h := &hostile{TB: t, tree: filepath.Join(dir, "tree"), ran: filepath.Join(dir, "ran")}
	for _, d := range []string{h.tree, h.ran} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.git("init", "-q", "--initial-branch=main")
	h.write(".gitattributes", "* filter=evil diff=evil\na.odd filter=a.b=c\nb.process filter=process\n")
	for _, name := range []string{"file", "a.odd", "b.process"} {
		h.write(name, "one\n")
	}
	h.git("init", "-q", "sub") // a submodule, which git status looks into by itself
	h.write("sub/.gitattributes", "* filter=below\n")
	h.git("-C", "sub", "add", ".")
	h.git("-C", "sub", "commit", "-q", "-m", "below")
	h.git("add", ".")
	h.git("commit", "-q", "-m", "subject")
	program := func(name string) string {
		path := filepath.Join(dir, name)
		text := fmt.Sprintf("#!/bin/sh\ntouch '%s'\nexit 1\n", filepath.Join(h.ran, name))
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for key, name := range map[string]string{
		"core.fsmonitor": "fsmonitor", "core.sshCommand": "ssh", "core.pager": "pager", "diff.external": "diff",
		"diff.evil.textconv": "textconv", "filter.evil.clean": "clean", "filter.evil.smudge": "smudge",
		"filter.a.b=c.clean": "odd", "filter.process.process": "process", "gpg.program": "gpg",
	} {
		h.git("config", key, program(name))
	}
	h.git("-C", "sub", "config", "filter.below.clean", program("below"))
	h.git("-C", "sub", "config", "core.fsmonitor", program("fsmonitor-below"))
	for _, setting := range [][2]string{
		{"filter.evil.required", "true"}, {"log.showSignature", "true"}, {"core.untrackedCache", "true"},
		{"core.repositoryFormatVersion", "1"}, {"extensions.partialClone", "origin"}, {"remote.origin.promisor", "true"},
		{"remote.origin.url", "ssh://localhost/nowhere"}, {"remote.origin.uploadpack", program("uploadpack")},
	} {
		h.git("config", setting[0], setting[1])
	}
	for _, hook := range []string{"post-index-change", "reference-transaction", "post-checkout", "fsmonitor-watchman"} {
		if err := os.Rename(program(hook), filepath.Join(h.tree, ".git", "hooks", hook)); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour) // now git has to look at the contents
	for _, name := range []string{"file", "a.odd", "b.process", "sub/.gitattributes"} {
		if err := os.Chtimes(filepath.Join(h.tree, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *hostile) write(name, content string) {
	h.Helper()
	if err := os.WriteFile(filepath.Join(h.tree, name), []byte(content), 0o600); err != nil {
		h.Fatal(err)
	}
}

func (h *hostile) git(args ...string) {
	h.Helper()
	cmd := exec.Command("git", append([]string{"-C", h.tree}, args...)...)
	cmd.Env = fixture.GitEnv(h.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		h.Fatalf("git %q: %v: %s", args, err, out)
	}
}

// check fails the test for each program that ran since the last call.
func (h *hostile) check(what string) {
	h.Helper()
	entries, err := os.ReadDir(h.ran)
	if err != nil {
		h.Fatal(err)
	}
	for _, e := range entries {
		h.Errorf("%s ran %s of the repository", what, e.Name())
		if err := os.Remove(filepath.Join(h.ran, e.Name())); err != nil {
			h.Fatal(err)
		}
	}
}

// TestLookingRunsNothingOfTheRepository: whose commit is deployed, or where hooks are installed, is not always trusted
// to run programs as this user.
func TestLookingRunsNothingOfTheRepository(t *testing.T) {
	h := newHostile(t)
	t.Setenv("HOME", t.TempDir())
	ctx := t.Context()
	names, err := Uncommitted(ctx, h.tree)
	if err != nil || len(names) > 0 {
		t.Errorf("uncommitted: %q, %v", names, err)
	}
	h.check("looking at the work tree")
	h.write("file", "two\n")
	h.write("new", "")
	if names, err = Uncommitted(ctx, h.tree); err != nil || !slices.Equal(names, []string{"file", "new"}) {
		t.Errorf("uncommitted: %q, %v", names, err)
	}
	h.check("looking at a changed work tree")

	found, err := FindRevision(ctx, h.tree, "HEAD")
	if err != nil || found.Subject != "subject" || found.Ref != "refs/heads/main" {
		t.Errorf("%+v, %v", found, err)
	}
	h.check("finding a revision")
	// An object that is missing would be fetched.
	missing := "1111111111111111111111111111111111111111"
	if _, err := FindRevision(ctx, h.tree, missing); err == nil {
		t.Error("a missing commit was found")
	}
	h.check("finding a missing revision")
	r, err := OpenRepository(ctx, filepath.Join(h.tree, ".git"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Commit(fixture.OID(missing)); err == nil {
		t.Error("a missing commit was read")
	}
	if _, err := Run(ctx, filepath.Join(h.tree, ".git"), "cat-file", "-t", missing); err == nil {
		t.Error("a missing object has a type")
	}
	h.check("reading a missing object")
}
