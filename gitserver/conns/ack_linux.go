package conns

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// quickAck is tcp(7)'s TCP_QUICKACK. An error means only that the acknowledgement comes later.
func quickAck(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}
