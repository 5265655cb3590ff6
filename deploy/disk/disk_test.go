package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// names lists what is in a directory.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func TestWriteFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for i, mode := range []fs.FileMode{0o600, 0o644, 0o770} {
		want := fmt.Sprint("content ", i)
		if err := WriteFile(path, []byte(want), mode); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != want {
			t.Errorf("%q, %v", data, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
		}
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("there are %q", all)
	}
	// A link is replaced, and what it leads to stays.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "content 2" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestAWriteThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a directory")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("there are %q", all)
	}
	if err := WriteFile(filepath.Join(dir, "none", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestReadersSeeWholeFiles: many write at once, and every reader sees one of their texts.
func TestReadersSeeWholeFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var writers sync.WaitGroup
	for i := range 4 {
		text := make([]byte, 100_000)
		for at := range text {
			text[at] = byte('a' + i)
		}
		writers.Go(func() {
			for range 10 {
				if err := WriteFile(path, text, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || len(data) != 100_000 || data[0] != data[len(data)-1] {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("there are %q", all)
	}
}

func TestRemoveTemporary(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	name, err := WriteTemporary(path, []byte("half"), 0o600)
	if err != nil || filepath.Dir(name) != dir || !IsTemporary(filepath.Base(name)) {
		t.Fatal(name, err)
	}
	others := []string{"file.1.refship-tmp", ".file.refship-tmp", ".file.pub.1.refship-tmp", ".other.1.refship-tmp",
		".file.1.tmp", "file"}
	for _, other := range others {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTemporary(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it is still there")
	}
	if all := names(t, dir); len(all) != len(others) {
		t.Errorf("there are %q", all)
	}
	if err := RemoveTemporary(filepath.Join(dir, "none", "file")); err != nil {
		t.Error(err)
	}
}

func TestDirectories(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(path, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	for d := path; d != dir; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || info.Mode() != fs.ModeDir|0o750 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
	if made, err := Mkdir(path, 0o700); made || err != nil {
		t.Error(made, err)
	}
	if made, err := Mkdir(filepath.Join(path, "d"), fs.ModeSetgid|0o770); !made || err != nil {
		t.Error(made, err)
	}
	if info, err := os.Stat(filepath.Join(path, "d")); err != nil || info.Mode() != fs.ModeDir|fs.ModeSetgid|0o770 {
		t.Error(info.Mode(), err)
	}
	if err := SyncTree(openRoot(t, dir)); err != nil {
		t.Error(err)
	}
	if err := Remove(filepath.Join(path, "d")); err != nil {
		t.Error(err)
	}
	if err := Remove(filepath.Join(path, "d")); err != nil {
		t.Error("gone already:", err)
	}
}

func TestRenameNewAndSwap(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, path := range []string{a, b} {
		if err := os.WriteFile(path, []byte(filepath.Base(path)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := openRoot(t, dir)
	if err := RenameNew(root, "a", "b"); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if err := Swap(a, b); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	} else if data, _ := os.ReadFile(a); err == nil && string(data) != "b" {
		t.Errorf("a has %q", data)
	}
	if err := RenameNew(root, "a", "c"); err != nil {
		t.Error(err)
	}
	if all := names(t, dir); !slices.Equal(all, []string{"b", "c"}) {
		t.Errorf("there are %q", all)
	}
}

func TestTryLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := TryLock(path); !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Path != path {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	if unlock, err = TryLock(path); err != nil {
		t.Fatal(err)
	}
	unlock()
	link := path + "-link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(link); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link: %v", err)
	}
}

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				unlock, err := Lock(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two are inside")
				}
				inside.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
}

func TestLockEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	why := errors.New("long enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, why)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, why) {
		t.Error(err)
	}
}

// TestARemovedFileLocksNobodyOut: the lock is on the file that is there.
func TestARemovedFileLocksNobodyOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		unlock, err := Lock(t.Context(), path)
		if err == nil {
			defer unlock()
			_, err = os.Lstat(path)
		}
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	var leave []func()
	for range 2 {
		unlock, err := TryShareDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, unlock)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := LockDir(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for _, unlock := range leave {
		unlock()
	}
	unlock, err := LockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	var locked *LockedError
	if _, err := TryShareDir(dir); !errors.As(err, &locked) {
		t.Error(err)
	}
	if _, err := LockDir(t.Context(), dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
