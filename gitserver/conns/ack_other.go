//go:build !linux

package conns

import "syscall"

// quickAck is for Linux only.
func quickAck(syscall.RawConn) {}
