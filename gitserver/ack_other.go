//go:build !linux

package gitserver

import "syscall"

// quickAck is for Linux only.
func quickAck(syscall.RawConn) {}
