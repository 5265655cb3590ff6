package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"refship/deploy/fault"
)

// TestReadFileTakesRegularFilesOnly: whatever else is there, it says what it is at once.
func TestReadFileTakesRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir) // a socket's path is short
	if err := syscall.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for link, to := range map[string]string{"to-fifo": "fifo", "to-file": "file", "to-device": "/dev/zero"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("file", []byte("12345678"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"fifo": "is a FIFO, not a file", "to-fifo": "is a FIFO, not a file", "socket": "is a socket, not a file",
		"/dev/zero": "is a device, not a file", "to-device": "is a device, not a file", ".": "is a directory, not a file",
	} {
		_, err := ReadFile(path, 100)
		if at, what, ok := Unfit(err); !ok || what != want || at != path || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", path, err)
		}
		if _, _, ok := Unfit(CheckFile(path, 100)); !ok {
			t.Errorf("%s: %v", path, err)
		}
		if path == "." {
			continue
		}
		if _, err := TryLock(path); err == nil {
			t.Errorf("%s was locked", path)
		}
		if _, err := TryShareDir(path); err == nil {
			t.Errorf("%s was locked as a directory", path)
		}
	}
	for _, path := range []string{"file", "to-file", "/proc/self/stat"} {
		if data, err := ReadFile(path, 10_000); err != nil || len(data) < 8 {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	// A file of /proc has no size before it is read.
	for _, path := range []string{"file", "/proc/self/stat"} {
		if _, err := ReadFile(path, 7); err == nil || !strings.Contains(err.Error(), path+" has more than 7 bytes") {
			t.Errorf("%s: %v", path, err)
		}
	}
	err = WithoutDir(fmt.Errorf("read: %w", unfit("/srv/file", "is a FIFO", "r")))
	if err.Error() != "file is a FIFO" || fault.RemedyOf(err) != "r" {
		t.Error(err)
	}
	if _, err := ReadFile("none", 7); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "open none") {
		t.Error(err)
	}
}

// TestReadFileOfAFileThatChanges: the kind is that of the file that was opened, not of one that had its name before.
func TestReadFileOfAFileThatChanges(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(other, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			if err := Swap(path, other); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		_, err := ReadFile(path, 7)
		if _, _, ok := Unfit(err); err != nil && !ok {
			t.Fatal(err)
		}
	}
}
