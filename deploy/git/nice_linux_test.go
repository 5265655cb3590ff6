package git_test

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"refship/deploy/git"
)

// TestLower: a process that others go before, and what it starts from then on, has a higher nice value than this one.
func TestLower(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read -r line; nice")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	nice := func(pid int) int {
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
		if err != nil {
			t.Fatal(err)
		}
		return 20 - raw
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own := nice(0)
	for _, steps := range []int{0, 4, 100} {
		if err := git.Lower(cmd.Process.Pid, steps); err != nil {
			t.Fatal(err)
		}
		if got, want := nice(cmd.Process.Pid), min(own+steps, 19); got != want {
			t.Errorf("%d steps: the nice value is %d, want %d", steps, got, want)
		}
	}
	_ = stdin.Close() // which ends it
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
