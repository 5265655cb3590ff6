package check

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processAttr gives a check's command a session of its own: a process group that can be ended as a whole, and no
// terminal. The shell dies with the thread that started it.
func processAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitEnd waits for a child's end and leaves it to be waited for: until then no other process gets its number,
// neither as a process nor as a group.
func awaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// keepFiles sees to it that a child gets no file that this process itself was given at its start. Those that Go opens
// are closed at exec anyway.
func keepFiles() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// killStrays kills the processes that have a variable in their environment that begins like this, as they inherited
// it: those of a check that left its process group. What gave up its environment, too, or runs as another user, is
// not found.
func killStrays(prefix string) error {
	const rounds = 100 // they may have had children meanwhile; one that the kernel does not let go stays
	const quiet = 3    // in the middle of an exec a process has no environment for a moment
	clean := 0
	for range rounds {
		found, err := killAll(prefix)
		if err != nil {
			return err
		}
		if clean++; found {
			clean = 0
		}
		if clean == quiet {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("processes with %s… do not end", prefix)
}

func killAll(prefix string) (found bool, err error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := os.FindProcess(pid) // by a pidfd: what is looked at from here on is what is killed
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join(dir, "environ")) // others' cannot be read
		if err == nil && strings.Contains("\x00"+string(env), "\x00"+prefix) {
			found = p.Kill() == nil || found
		}
		_ = p.Release() // it was looked at
	}
	return found, err
}
