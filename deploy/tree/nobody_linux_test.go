package tree_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// becomeNobody takes root's rights over files from this thread until the test ends.
func becomeNobody(t *testing.T) {
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = unix.SetfsuidRetUid(0) // or the thread ends with its goroutine
	})
}
