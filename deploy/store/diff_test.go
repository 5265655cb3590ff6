package store_test

import (
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/store"
	"refship/deploy/tree"
)

func TestStatusOfAChange(t *testing.T) {
	entry := func(mode filemode.FileMode) *tree.Entry { return &tree.Entry{Mode: mode} }
	file, program, link := entry(filemode.Regular), entry(filemode.Executable), entry(filemode.Symlink)
	for _, c := range []struct {
		old, new *tree.Entry
		want     string
	}{
		{nil, file, "A"}, {link, nil, "D"}, {file, file, "M"}, {file, program, "M"}, {file, link, "T"},
		{entry(filemode.Submodule), program, "T"},
	} {
		if got := (store.Change{Old: c.old, New: c.new}).Status(); got != c.want {
			t.Errorf("%v → %v is %s, want %s", c.old, c.new, got, c.want)
		}
	}
}
