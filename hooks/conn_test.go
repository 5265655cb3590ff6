package hooks

import (
	"net"
	"time"
)

// lines is a connection that keeps the words it was told.
type lines struct {
	net.Conn
	said string
}

func (l *lines) Write(b []byte) (int, error) {
	l.said += string(b[5:]) // without the frame's head
	return len(b), nil
}

func (l *lines) SetWriteDeadline(time.Time) error { return nil }
