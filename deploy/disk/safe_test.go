package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// owned is a directory of a user and a group.
type owned struct {
	fs.FileInfo
	mode     fs.FileMode
	uid, gid uint32
}

func (o owned) Mode() fs.FileMode { return o.mode }
func (o owned) IsDir() bool       { return o.mode.IsDir() }
func (o owned) Sys() any          { return &syscall.Stat_t{Uid: o.uid, Gid: o.gid} }

func TestWhoMayWriteToADirectory(t *testing.T) {
	us := func(uid uint32) bool { return uid == 0 || uid == 1000 }
	const dir, sticky = fs.ModeDir, fs.ModeSticky
	for _, tt := range []struct {
		name string
		info owned
		want string // "": it is safe
	}{
		{"ours", owned{mode: dir | 0o755, uid: 1000, gid: 100}, ""},
		{"root's", owned{mode: dir | 0o755}, ""},
		{"our own group may write", owned{mode: dir | 0o775, uid: 1000, gid: 1000}, ""},
		{"another group may write", owned{mode: dir | 0o775, uid: 1000, gid: 100}, "mode 0775: others may write"},
		{"root's, our group may write", owned{mode: dir | 0o775, gid: 1000}, "others may write"},
		{"everybody may write", owned{mode: dir | 0o707, uid: 1000, gid: 1000}, "mode 0707: others may write"},
		{"as /tmp", owned{mode: dir | sticky | 0o777}, ""},
		{"sticky, another group", owned{mode: dir | sticky | 0o770, uid: 1000, gid: 100}, ""},
		{"another user's", owned{mode: dir | 0o755, uid: 1001, gid: 1001}, "belongs to another user"},
		{"another user's, sticky", owned{mode: dir | sticky | 0o777, uid: 1001}, "belongs to another user"},
		{"a file", owned{mode: 0o644, uid: 1000}, "is no directory"},
	} {
		err := checkSafe("dir", tt.info, us)
		_, what, unfit := Unfit(err)
		if tt.want == "" && err != nil || tt.want != "" && (!unfit || !strings.Contains(what, tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestOpenSafeFollowsLinksThatAreOurs(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "a", "real")
	if err := os.MkdirAll(filepath.Join(real, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"absolute": real, "relative": "a/../a/real", "a/up": "../relative/.", "loop": "loop", "nowhere": "none",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	want, err := os.Stat(filepath.Join(real, "sub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"a/real/sub", "./absolute/sub", "relative/sub", "a/up/sub/", "a/up/../real/sub",
		filepath.Join(dir, "absolute", "sub"),
	} {
		root, err := OpenSafe(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got, err := root.Stat(".")
		if err := errors.Join(err, root.Close()); err != nil || !os.SameFile(got, want) {
			t.Errorf("%s: another directory, %v", path, err)
		}
	}
	for path, want := range map[string]error{"loop": syscall.ELOOP, "nowhere": fs.ErrNotExist, "none/x": fs.ErrNotExist} {
		if _, err := OpenSafe(path); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// To whom these links belong to somebody else, only the way without one is open.
	calls := 0
	others := func(uint32) bool { calls++; return false }
	_, err = openSafe("absolute/sub", others)
	if _, what, _ := Unfit(err); !strings.Contains(what, "symbolic link, absolute, that belongs to another user") ||
		calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	_, err = openSafe("a/real/sub", others)
	if _, what, _ := Unfit(err); !strings.Contains(what, "belongs to another user, who") || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
