package conns

import (
	"log/slog"
	"net"
	"testing"
	"time"
)

// TestServerStoodStill: what a server finds after it has stood still itself is one look, however long that was; a
// client that has sent something since then is looked at anew.
func TestServerStoodStill(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	table := &Table{cfg: Config{
		Limits: Limits{LoginGrace: time.Hour, AskAfter: time.Hour}, Log: slog.New(slog.DiscardHandler),
	}}
	c := table.newConn(near, origin{})
	asked := make(chan struct{}, 10)
	table.watchSilence(c, func() { asked <- struct{}{} })
	defer c.stopTimers()
	k := c.keeper.Load()
	c.began = c.began.Add(-24 * time.Hour) // nothing has come since then
	look := func(open bool) {
		t.Helper()
		k.checkSilence()
		_ = far.SetWriteDeadline(time.Now().Add(-time.Second))
		_, err := far.Write([]byte("x"))
		if isOpen := err != nil && err.Error() == "write pipe: i/o timeout"; isOpen != open {
			t.Errorf("open: %v, want %v: %v", isOpen, open, err)
		}
	}
	for range goneAfter - 1 {
		look(true)
		<-asked
		table.others.Wait()
	}
	c.heard.Store(int64(time.Since(c.began)))
	look(true) // it has said something
	c.heard.Store(0)
	for range goneAfter - 1 {
		look(true)
		<-asked
		table.others.Wait()
	}
	look(false)
	if len(asked) > 0 {
		t.Error("it was asked more often")
	}
}
