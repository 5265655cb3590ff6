package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/text"
)

// bomb makes a commit of a tree of some levels: in each, directories of these names are all the same one, and the
// lowest has files in their place.
func (f *setup) bomb(names []string, levels int) *deploy.Job {
	f.Helper()
	at := "100644 blob " + f.repo.Blob("x").String()
	for range levels {
		var lines strings.Builder
		for _, name := range names {
			fmt.Fprintf(&lines, "%s\t%s\x00", at, name)
		}
		at = "040000 tree " + f.repo.mktree(lines.String()).String()
	}
	_, oid, _ := strings.Cut(at, "tree ")
	return f.job(f.repo.commitTree(fixture.OID(oid)))
}

// What is too large is refused while it is read: no content was, and etcd was asked once a level.
func TestTooLargeTreesAreRefusedWhileTheyAreRead(t *testing.T) {
	f := newSetup(t)
	for name, c := range map[string]struct {
		job           *deploy.Job
		message, hint string
	}{
		"paths": {f.bomb(fixture.Numbered(100), 4), "the tree has at least 1010100 files and directories (limit 1000000)",
			"give the target a path"},
		"depth": {f.bomb([]string{"n"}, 201), "has 201 elements (limit 200)", "shorten the name, commit, push again"},
		"long":  {f.bomb([]string{strings.Repeat("n", 99)}, 41), "is 4099 bytes (limit 4095)", "shorten the name"},
	} {
		read := false
		_, err := f.chain.Prepare(t.Context(), nil, c.job, func(text.Progress) { read = true })
		fixture.WantFault(t, fault.Refused, err, c.message, c.hint)
		if read {
			t.Errorf("%s: contents were read", name)
		}
	}
	// The longest of a directory's paths counts, not the first.
	low := "040000 tree " + f.repo.mktree("100644 blob "+f.repo.Blob("x").String()+"\tf\x00").String()
	at := low
	for range 40 {
		at = "040000 tree " + f.repo.mktree(at+"\t"+strings.Repeat("d", 101)+"\x00").String()
	}
	root := f.repo.mktree(low + "\tlow\x00" + at + "\tz\x00")
	_, err := f.chain.Prepare(t.Context(), nil, f.job(f.repo.commitTree(root)), quiet)
	if err != nil {
		t.Errorf("of 4083 bytes: %v", err)
	}
	root = f.repo.mktree(low + "\tlow\x00" + at + "\t" + strings.Repeat("z", 14) + "\x00")
	_, err = f.chain.Prepare(t.Context(), nil, f.job(f.repo.commitTree(root)), quiet)
	fixture.WantFault(t, fault.Refused, err, "is 4096 bytes (limit 4095)", "shorten the name")
}

// A directory that etcd has is not read again, and counts wherever it occurs.
func TestWhatEtcdHasCountsToo(t *testing.T) {
	f := newSetup(t)
	job := f.bomb(fixture.Numbered(1000), 1)
	d := f.deploy(job.Commit)
	var lines strings.Builder
	for _, name := range fixture.Numbered(1000) {
		fmt.Fprintf(&lines, "040000 tree %s\t%s\x00", d.Record.Tree, name)
	}
	_, _, err := f.do(f.job(f.repo.commitTree(f.repo.mktree(lines.String()), job.Commit)))
	fixture.WantFault(t, fault.Refused, err, "the tree has at least 1001000 files and directories",
		"give the target a path")
	if got := len(f.dump()); got == 0 || f.get(1) == nil {
		t.Error("the chain is gone")
	}
}

// A plain directory may not be larger than one that git's repositories may have.
func TestDirectoryOfTooManyEntries(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	dir := t.TempDir()
	one := filepath.Join(t.TempDir(), "one")
	f.writeFile(one, "")
	for i := range 16<<20/(len("100644 \x00")+20+255) + 1 { // links are made several times faster than files
		if err := os.Link(one, filepath.Join(dir, fmt.Sprintf("%0255d", i))); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.chain.Prepare(t.Context(), nil, f.dirJob(dir), quiet)
	fixture.WantFault(t, fault.Refused, err,
		"the tree's root has 59284 entries, of 16777372 bytes as a git tree (limit 16777216)",
		"over several directories")
}
