//go:build !linux

package gitserver

import "syscall"

// childAttr puts a child into a process group of its own. Here it does not die with us: its pipes break instead.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
