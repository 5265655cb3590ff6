package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
)

// MakeAt makes what is not there, and follows no link to make it.
func TestMakeAt(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	content := make([]byte, 1<<20)
	content[len(content)-1] = 'x'
	for name, mode := range map[string]os.FileMode{"file": 0o600, "program": 0o700} {
		if err := disk.MakeAt(int(dir.Fd()), name, content, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if got, err := os.ReadFile(filepath.Join(path, name)); err != nil || string(got) != string(content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if err := os.Symlink("elsewhere", filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []string{"file", "link", "."} {
		if err := disk.MakeAt(int(dir.Fd()), taken, nil, 0o600); !errors.Is(err, unix.EEXIST) {
			t.Errorf("%s: %v", taken, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(path, "elsewhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the link was followed")
	}
}

// ReadFileAt reads a file of that size, and nothing else: it waits for no FIFO, and follows no link.
func TestReadFileAt(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	large := strings.Repeat("x", 1<<20)
	for _, err := range []error{
		os.WriteFile(filepath.Join(path, "file"), []byte("text"), 0o600),
		os.WriteFile(filepath.Join(path, "large"), []byte(large), 0o600),
		os.WriteFile(filepath.Join(path, "empty"), nil, 0o600),
		os.Symlink("file", filepath.Join(path, "link")), os.Mkdir(filepath.Join(path, "dir"), 0o700),
		unix.Mkfifo(filepath.Join(path, "fifo"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"file": "text", "large": large, "empty": ""} {
		got := make([]byte, len(want))
		if err := disk.ReadFileAt(int(dir.Fd()), name, got); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for name, want := range map[string]error{
		"link": unix.ELOOP, "gone": unix.ENOENT, "dir": disk.ErrOther, "fifo": disk.ErrOther, "large": disk.ErrOther,
		"empty": disk.ErrOther,
	} {
		if err := disk.ReadFileAt(int(dir.Fd()), name, make([]byte, 4)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}
