package gitserver

import "syscall"

// childAttr puts a child into a process group of its own and lets it die with us.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
