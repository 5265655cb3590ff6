package conns

import (
	"io"
	"net"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/fault"
)

const (
	// farewellTime is how long a client that is turned away has to read why.
	farewellTime = time.Second
	// maxFarewells is how many of those there are at a time; beyond it connections are just closed.
	maxFarewells = 32
)

// turnAway tells a client why it is not served, without waiting for it. The caller holds t.mu.
func (t *Table) turnAway(nc net.Conn, reason fault.Reason, limit int, why string) {
	t.count.TurnedAway++
	if more, ok := t.turnedAway.Next(); ok {
		t.cfg.Log.Warn("connection refused: too many are open", "address", nc.RemoteAddr().String(),
			"limit", limit, "remedy", t.cfg.Remedy(reason), "also_refused", more)
	}
	select {
	case t.farewells <- struct{}{}:
	default:
		_ = nc.Close()
		return
	}
	t.others.Go(func() {
		defer func() { <-t.farewells }()
		farewell(nc, why)
	})
}

// disconnectMsg is SSH_MSG_DISCONNECT (RFC 4253, section 11.1). golang.org/x/crypto/ssh keeps its own to itself, and
// sends it with two fixed texts, after a key exchange. Here it comes before one, which a flood of connections must
// not cost.
type disconnectMsg struct {
	Reason   uint32 `sshtype:"1"`
	Text     string
	Language string
}

const tooManyConnections = 12 // SSH_DISCONNECT_TOO_MANY_CONNECTIONS

// farewell tells a client why it is not served. Clients show this message, and do not show lines before the version.
func farewell(nc net.Conn, why string) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(farewellTime))
	payload := gossh.Marshal(&disconnectMsg{Reason: tooManyConnections, Text: why})
	if _, err := nc.Write(append([]byte("SSH-2.0-refship\r\n"), plainPacket(payload)...)); err != nil {
		return
	}
	// Closing with input unread makes the kernel reset the connection, and the client may lose what it has not read.
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(nc, 64<<10)) // until the client closes, or its time is over
	}
}

// plainPacket is SSH's binary packet (RFC 4253, section 6) before any key exchange: length, length of the padding,
// payload, padding, in all a multiple of 8 bytes.
func plainPacket(payload []byte) []byte {
	const block, header = 8, 5
	padding := block - (header+len(payload))%block
	if padding < 4 {
		padding += block
	}
	n := 1 + len(payload) + padding
	p := append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), byte(padding)}, payload...)
	return append(p, make([]byte, padding)...)
}
