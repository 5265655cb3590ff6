package upkeep

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts a child into a process group of its own and lets it die with us.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

const (
	niceness   = 10
	ioprioPgrp = 2       // IOPRIO_WHO_PGRP of ioprio_set(2)
	ioprioIdle = 3 << 13 // IOPRIO_CLASS_IDLE
)

// beNice lets a process group come after others. What it starts inherits that. Where the system does not let it, the
// group is as quick as others.
func beNice(pgid int) {
	_ = unix.Setpriority(unix.PRIO_PGRP, pgid, niceness)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioPgrp, uintptr(pgid), ioprioIdle)
}
