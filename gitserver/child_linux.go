package gitserver

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts a child into a process group of its own and lets it die with us.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// limitMemory bounds what a process, and each one that it starts from now on, may take for itself (RLIMIT_DATA of
// setrlimit(2): the heap and private memory that can be written, but not files that are mapped to be read).
func limitMemory(pid int, bytes uint64) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &limit); err != nil {
		return err
	}
	limit.Max = min(limit.Max, bytes)
	limit.Cur = min(limit.Cur, limit.Max)
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil)
}
