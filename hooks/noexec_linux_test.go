package hooks_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/hooks"
)

// Where no program can be run, git would take every push without asking its hooks.
func TestServerRefusesNoexec(t *testing.T) {
	t.Parallel()
	dir := fixture.ShortDir(t)
	err := unix.Mount("none", dir, "tmpfs", unix.MS_NOEXEC, "size=64m")
	if errors.Is(err, unix.EPERM) {
		t.Skip("only root can mount a file system")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Detached: a process that another test forks holds the hooks that were written open until it is another program.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	_, err = hooks.NewServer(hooks.Config{Dir: dir, HookBinary: hookBinary, Log: fixture.Log(t)})
	// The words are judged here: no script can mount a file system.
	fixture.WantFault(t, fault.Failed, err, "git cannot run its hooks in "+dir, "noexec")
}
