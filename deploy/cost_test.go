package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/tree"
)

// spyGit puts a program in git's place that writes down what cat-file is asked for.
func spyGit(t *testing.T) (asked func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "asked")
	script := "#!/bin/sh\nPATH=" + os.Getenv("PATH") + "\ncase \" $* \" in *' cat-file --batch'*) tee -a '" + log +
		"' | git \"$@\";; *) exec git \"$@\";; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(log, 0); err != nil {
			t.Fatal(err)
		}
		var oids []string
		for _, line := range strings.Split(string(b), "\n") {
			if oid, ok := strings.CutPrefix(line, "contents "); ok {
				oids = append(oids, oid)
			}
		}
		return oids
	}
}

func TestOneFileChangedIn2000CostsItsPath(t *testing.T) {
	asked := spyGit(t)
	f := newSetup(t)
	all := files{}
	for i := range 2000 {
		all[fmt.Sprintf("dir %d/sub %d/file %d", i%10, i/10%20, i)] = regular(fmt.Sprint("content ", i))
	}
	first := f.deploy(f.repo.commit("first", all))
	asked()
	before := f.dump()
	all["dir 7/sub 3/file 37"] = regular("changed")
	commit := f.repo.commit("second", all, first.Hash.OID())

	v, err := f.chain.Check(t.Context(), f.job(commit))
	if err != nil || len(v.Commits) != 1 {
		t.Fatal(v, err)
	}
	asked()
	p, _ := f.prepare(f.job(commit))
	rev := func(what string) string { return f.repo.Git("rev-parse", commit.String()+what) }
	want := []string{
		commit.String(), rev(":"), rev(":dir 7"), rev(":dir 7/sub 3"), rev(":dir 7/sub 3/file 37"),
	}
	got := unique(asked())
	// The commit below is read for the comparison of history.
	want = unique(append(want, string(first.Hash)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read from git (-want +got):\n%s", diff)
	}
	if p.Files != 2000 || p.Changed != 1 || p.NewContents != 1 {
		t.Errorf("%d files, %d changed, %d contents new", p.Files, p.Changed, p.NewContents)
	}

	requests := f.tap.count(func() {
		if err := p.Upload(t.Context(), quiet); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if requests != 2 { // all of it in one txn, and the publish
		t.Errorf("upload and publish took %d requests", requests)
	}
	var written []string
	var bytes int64
	for key, value := range f.dump() {
		if was, ok := before[key]; !ok || was != value {
			written = append(written, key)
			if !strings.Contains(key, "/deploy/") && !strings.HasPrefix(key, own+"log/") && key != own+"checkpoint" &&
				key != own+"head" && key != own+"stored" {
				bytes += int64(len(value))
			}
		}
	}
	sort.Strings(written)
	wantKeys := []string{
		namespace + "/deploy/2/hash", namespace + "/deploy/2/record", namespace + "/deploy/2/signature", own + "head",
		own + "checkpoint", own + "log/2",
		own + "stored", own + "object/" + commit.String(), own + "tree/" + rev(":"), own + "tree/" + rev(":dir 7"),
		own + "tree/" + rev(":dir 7/sub 3"), namespace + "/storage/{sha256}" + sha256Hex([]byte("changed")),
	}
	sort.Strings(wantKeys)
	if diff := cmp.Diff(wantKeys, written); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if bytes != p.NewBytes {
		t.Errorf("announced %d bytes, wrote %d", p.NewBytes, bytes)
	}
}

func unique(list []string) []string {
	seen := map[string]bool{}
	var all []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	sort.Strings(all)
	return all
}

func TestTheSameAgainCostsTwoRequestsAndWritesNothing(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.one())
	before := f.dump()
	requests := f.tap.count(func() {
		again, already, err := f.do(f.job(d.Hash.OID()))
		if err != nil || !already || again.ID != d.ID {
			t.Errorf("already %t, %+v, %v", already, again, err)
		}
	})
	if requests != 2 { // hint, hold and lock; head
		t.Errorf("%d requests", requests)
	}
	f.unchanged(before)
}

// What the announced bytes of a first deploy are: exactly what is written, in whatever way content repeats.
func TestAnnouncedBytesAreWhatIsWritten(t *testing.T) {
	f := newSetup(t)
	all := files{"a": regular("same"), "b": regular("same"), "c/a": regular("same"),
		"big": regular(noise(tree.ChunkSize + 5)), "d/big": regular(noise(tree.ChunkSize + 5))}
	p, _ := f.uploaded(f.repo.commit("all", all))
	var bytes int64
	for key, value := range f.dump() {
		if key != own+"lock" && key != own+"stored" {
			bytes += int64(len(value))
		}
	}
	if p.NewContents != 2 || bytes != p.NewBytes {
		t.Errorf("announced %d contents, %d bytes; wrote %d bytes", p.NewContents, p.NewBytes, bytes)
	}
}
