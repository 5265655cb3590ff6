package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/text"
)

// verdict is the one on a commit that was not deployed yet.
func (f *setup) verdict(job *deploy.Job) *deploy.Verdict {
	f.Helper()
	v, err := f.chain.Check(f.Context(), job)
	if err != nil {
		f.Fatal(err)
	}
	return v
}

// What is written out of git is what a checkout of the same deploy out of etcd has.
func TestWriteTreeEqualsCheckout(t *testing.T) {
	f := newSetup(t)
	head := f.repo.commit("all kinds", files{
		"a.txt": regular("one\n"), "empty": regular(""), "run": {"100755", "#!/bin/sh\n"},
		"sub/large": regular(strings.Repeat("0123456789", 250_000)),
		"sub/link":  {"120000", "../../outside"}, "sub/deep/er/ü\n": regular("\xff\x00"),
		"module":         {"160000", strings.Repeat("1", 40)},
		".gitattributes": regular("* text eol=crlf\n"),
	})
	for _, path := range []string{"", "sub"} {
		f.path = path
		job := f.job(head)
		if path != "" {
			f.chain = f.store.Chain("/refship/sub")
		}
		dir, last := t.TempDir(), text.Progress{}
		if err := f.verdict(job).WriteTree(t.Context(), job.Repo, dir, 1<<30,
			func(p text.Progress) { last = p }); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := f.chain.Checkout(t.Context(), f.deploy(head), out, quiet); err != nil {
			t.Fatal(err)
		}
		want := manifest(t, out)
		if diff := cmp.Diff(want, manifest(t, dir)); diff != "" || len(want) < 3 {
			t.Errorf("tree (-want +got):\n%.1000s", diff)
		}
		if last.Step != "writing" || last.Files < 3 || last.Bytes < 2_500_000 {
			t.Errorf("last progress: %+v", last)
		}
	}
}

// However small a tree is in git, it is written out only as far as it may.
func TestWriteTreeIsBounded(t *testing.T) {
	f := newSetup(t)
	blob := f.repo.Blob(strings.Repeat("x", 100_000))
	tree := f.repo.mktree(fmt.Sprintf("100644 blob %s\tfile\x00", blob))
	for range 5 {
		var lines strings.Builder
		for i := range 10 {
			fmt.Fprintf(&lines, "040000 tree %s\t%d\x00", tree, i)
		}
		tree = f.repo.mktree(lines.String())
	}
	empty := f.repo.mktree("")
	for range 5 {
		var lines strings.Builder
		for i := range 10 {
			fmt.Fprintf(&lines, "040000 tree %s\t%d\x00", empty, i)
		}
		empty = f.repo.mktree(lines.String())
	}
	large := f.repo.commit("large", files{"a": regular("1"), "large": regular(strings.Repeat("x", 2<<20))})
	for name, c := range map[string]struct {
		job  *deploy.Job
		says string
	}{
		"many files":       {f.job(f.repo.commitTree(tree)), "more than 1 MiB"},
		"many directories": {f.job(f.repo.commitTree(empty)), "more than 1 MiB"},
		"one large file":   {f.job(large), `with "large" more than 1 MiB`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := f.verdict(c.job).WriteTree(t.Context(), c.job.Repo, dir, 1<<20, quiet)
			fixture.WantFault(t, fault.Refused, err, c.says,
				"make it smaller, or ask the server's operator for more room on its disk")
			written := int64(0)
			err = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
				if err == nil && info.Mode().IsRegular() {
					written += info.Size()
				}
				return err
			})
			if err != nil || written > 1<<20 {
				t.Errorf("%d bytes written, %v", written, err)
			}
		})
	}
	// As much as it may.
	job := f.job(large)
	if err := f.verdict(job).WriteTree(t.Context(), job.Repo, t.TempDir(), 2<<20+4096, quiet); err != nil {
		t.Error(err)
	}
}

// A link and a directory of the same name, which git would not write: nothing goes through the link.
func TestWriteTreeOutside(t *testing.T) {
	f := newSetup(t)
	outside := t.TempDir()
	link, file := f.repo.Blob(outside), f.repo.Blob("evil\n")
	below := f.repo.mktree(fmt.Sprintf("100644 blob %s\tfile\x00", file))
	for name, lines := range map[string]string{
		"link first": fmt.Sprintf("120000 blob %s\td\x00040000 tree %s\td\x00", link, below),
		"dots":       fmt.Sprintf("040000 tree %s\t..\x00", below),
		"git":        fmt.Sprintf("040000 tree %s\t.git\x00", below),
	} {
		t.Run(name, func(t *testing.T) {
			job := f.job(f.repo.commitTree(f.repo.mktree(lines)))
			err := f.verdict(job).WriteTree(t.Context(), job.Repo, t.TempDir(), 1<<20, quiet)
			fixture.WantFault(t, fault.Refused, err, "tree", "")
			if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
				t.Errorf("written outside of the tree: %v, %v", left, err)
			}
		})
	}
	// Even if it were not looked at: the directory has a link already where the tree has a directory.
	job, dir := f.job(f.repo.commit("below", files{"d/file": regular("evil\n")})), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "d")); err != nil {
		t.Fatal(err)
	}
	if err := f.verdict(job).WriteTree(t.Context(), job.Repo, dir, 1<<20, quiet); !errors.Is(err, os.ErrExist) {
		t.Errorf("error is %v", err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside of the tree: %v, %v", left, err)
	}
}
