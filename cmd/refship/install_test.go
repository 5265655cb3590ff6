package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const manDir = "../../contrib/man"

// The pages are part of the repository, so that an installation needs no running program, and a change of a flag shows
// in its diff.
func TestManualPagesAreCurrent(t *testing.T) {
	t.Parallel()
	pages, err := manPages(&app{getenv: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(manDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, path := range paths {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		there[filepath.Base(path)] = string(page)
	}
	if diff := cmp.Diff(there, pages); diff != "" {
		t.Errorf("run make man: - is in contrib/man, + is in the program\n%s", diff)
	}
	for _, name := range []string{"refship.1", "refship-repo.1", "refship-repo-target-add.1", "refship-log.1"} {
		if pages[name] == "" {
			t.Errorf("there is no page %s", name)
		}
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		said, err := exec.Command(groff, append([]string{"-man", "-ww", "-Tutf8", "-z"}, paths...)...).CombinedOutput()
		if err != nil || len(said) > 0 {
			t.Errorf("groff: %v\n%s", err, said)
		}
	}
}

// What make install puts where a shell and man(1) look for it.
func TestInstall(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("refship")
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "a package")
	// The programs are built: -o says so.
	install := exec.Command("make", "-C", "../..", "-o", "build", "install", "PREFIX=/usr", "DESTDIR="+dest,
		"BIN="+filepath.Join(filepath.Dir(program), plainDir))
	if said, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	want := map[string]fs.FileMode{
		"bin/refship": 0o755, "bin/refship-hook": 0o755, "share/bash-completion/completions/refship": 0o644,
		"share/zsh/site-functions/_refship": 0o644, "share/fish/vendor_completions.d/refship.fish": 0o644,
	}
	pages, err := filepath.Glob(filepath.Join(manDir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		want["share/man/man1/"+filepath.Base(page)] = 0o644
	}
	got := map[string]fs.FileMode{}
	usr := filepath.Join(dest, "usr")
	err = filepath.WalkDir(usr, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		got[strings.TrimPrefix(path, usr+"/")] = info.Mode().Perm()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("- is wanted, + is installed\n%s", diff)
	}
	if said, err := exec.Command(filepath.Join(usr, "bin/refship"), "version").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
