package files_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"refship/deploy/agent/files"
)

// What the operator's command has made so that not even the agent may read it is taken as it is.
func TestTakeWhatNobodyMayRead(t *testing.T) {
	d := newDir(t)
	d.must(errors.Join(
		os.WriteFile(d.in("closed"), []byte("x"), 0), os.Mkdir(d.in("shut"), 0o755),
		os.WriteFile(d.in("shut/file"), []byte("x"), 0o644), os.Chmod(d.in("shut"), 0), os.Chmod(d.in("sub/file"), 0o644),
	))
	runtime.LockOSThread() // root may read anything
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = unix.SetfsuidRetUid(0) // or the thread ends with its goroutine
	})
	if _, err := os.ReadFile(d.in("closed")); !errors.Is(err, unix.EACCES) {
		t.Skipf("what nobody may read is read here: %v", err)
	}
	looked, err := files.Compare(t.Context(), d.root, d.list, true)
	d.must(err)
	d.list, err = files.Take(t.Context(), d.root, d.list, looked.Differences)
	d.must(err)
	if words, _ := d.look(true); words != nil {
		t.Errorf("%q differ", words)
	}
}
