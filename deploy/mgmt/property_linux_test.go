package mgmt_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
)

// drawTree draws a tree of few names, so that links meet files, directories, other links, and nothing.
func drawTree(t *rapid.T) map[string]leaf {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d.e", "ü"})
	at := rapid.Custom(func(t *rapid.T) string {
		return path.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "path")...)
	})
	leaves := map[string]leaf{}
	put := func(at string, l leaf) {
		for other := range leaves {
			if other == at || strings.HasPrefix(other, at+"/") || strings.HasPrefix(at, other+"/") {
				return
			}
		}
		leaves[at] = l
	}
	put("main.mcl", file("code\n"))
	switch rapid.IntRange(0, 4).Draw(t, "metadata") {
	case 0:
		put("metadata.yaml", file("main: main.mcl\n"))
	case 1:
		put("metadata.yaml", link("a/b"))
	}
	put("a/b", file("main: main.mcl\n"))
	for range rapid.IntRange(0, 12).Draw(t, "entries") {
		at := at.Draw(t, "at")
		content := rapid.StringN(0, 8, -1).Draw(t, "content")
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0, 1:
			put(at, file(content))
		case 2:
			put(at, exe(content))
		case 3:
			put(at, emptyDirectory())
		default:
			put(at, link(drawTarget(t, at, leaves)))
		}
	}
	return leaves
}

// drawTarget draws a link's target: more often than not one that leads to something.
func drawTarget(t *rapid.T, at string, leaves map[string]leaf) string {
	switch rapid.IntRange(0, 7).Draw(t, "target") {
	case 0:
		return rapid.SampledFrom([]string{"/", "/etc/passwd", "..", ".", "../../../../x", "main.mcl/", "a//b",
			"./a/.././a/b"}).Draw(t, "odd")
	case 1:
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"..", ".", "a", "b", "c", "d.e", ""}), 1, 6).Draw(t, "parts")
		return strings.TrimPrefix(strings.Join(parts, "/"), "/") + "a"
	}
	to := rapid.SampledFrom(slices.Sorted(maps.Keys(leaves))).Draw(t, "to")
	rel, err := filepath.Rel(path.Dir("/"+at), "/"+to)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// asLinux asks the kernel what a link leads to, without leaving dir: a content and whether it is executable, or what a
// refusal has to say.
func asLinux(t *rapid.T, dir, at string) (content string, exec bool, why string) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, at, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH})
	switch {
	case errors.Is(err, unix.EXDEV):
		return "", false, "absolute or out of the tree"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return "", false, "leads nowhere"
	case errors.Is(err, unix.ELOOP):
		return "", false, "leads in a circle"
	case err != nil:
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), at)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		return "", false, "is a directory"
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), info.Mode()&0o100 != 0, ""
}

// TestTrees lays generated trees out. The same trees are made on disk, and the kernel says where their links lead.
// Either all of them lead to files, and then the strict reader opens each file with the content that is there, or the
// tree is refused, for a link that the kernel does not follow either and with the same reason.
func TestTrees(t *testing.T) {
	laid, refusals := 0, map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		leaves := drawTree(r)
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		write(t, dir, leaves)
		want, bad := map[string]string{}, map[string]string{}
		for at, l := range leaves {
			switch l.mode {
			case filemode.Regular, filemode.Executable:
				want[at] = fmt.Sprintf("%t %s", l.mode == filemode.Executable, l.content)
			case filemode.Symlink:
				content, exec, why := asLinux(r, dir, at)
				if why != "" {
					bad[at] = why
				}
				want[at] = fmt.Sprintf("%t %s", exec, content)
			}
		}
		f := newForest()
		l, err := mgmt.Lay(context.Background(), f.source(f.plant(leaves).OID),
			mgmt.Options{Frontend: mgmt.Lang, MaxValue: maxValue})
		if len(bad) > 0 {
			if !fault.Is(err, fault.Refused) {
				r.Fatalf("got %+v, error %v; the kernel does not follow %q", l, err, bad)
			}
			why := ""
			for at, is := range bad {
				if strings.HasPrefix(err.Error(), fmt.Sprintf("%q ", at)) {
					why = is
				}
			}
			said := map[string][]string{"absolute or out of the tree": {"is absolute", "leaves the tree"}}[why]
			if said == nil {
				said = []string{why}
			}
			says := func(s string) bool { return strings.Contains(err.Error(), s) }
			if why == "" || !slices.ContainsFunc(said, says) || fault.RemedyOf(err) == "" {
				r.Fatalf("refused with %v; the kernel says %q", err, bad)
			}
			refusals[why]++
			return
		}
		if err != nil {
			r.Fatalf("%v, and the kernel follows all links", err)
		}
		laid++
		opens(r, f.keys(t, l), l, want)
	})
	t.Logf("%d laid out, %v refused", laid, refusals)
	if laid == 0 || len(refusals) == 0 {
		t.Errorf("%d laid out, %v refused: the generator is of no use", laid, refusals)
	}
}

// opens has the strict reader open every file of a layout.
func opens(r *rapid.T, keys map[string][]byte, l *mgmt.Layout, want map[string]string) {
	d, err := mgmttest.Read(keys)
	if err != nil {
		r.Fatal(err)
	}
	if l.Made != nil {
		want["metadata.yaml"] = "false " + string(l.Made)
	}
	if err := fstest.TestFS(d.FS, slices.Collect(maps.Keys(want))...); err != nil {
		r.Fatal(err)
	}
	files := 0
	err = fs.WalkDir(d.FS, ".", func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		text, err := fs.ReadFile(d.FS, at)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if got := fmt.Sprintf("%t %s", info.Mode()&0o100 != 0, text); got != want[at] {
			return fmt.Errorf("%s is %q, not %q", at, got, want[at])
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	if files != len(want) || l.Files != files || d.Entry != "main.mcl" || l.Entry != d.Entry {
		r.Fatalf("%d files, entry %q; laid out were %d, entry %q; there are %d", files, d.Entry, l.Files, l.Entry,
			len(want))
	}
}
