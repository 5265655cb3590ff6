package monitor

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/gitserver/conns"
)

// Clients that fail, here in handshakes, do not fill the log.
func TestClientsDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	journal := fixture.NewJournal(t)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(bounded{journal, new(conns.Flood)}, slog.LevelWarn)
	server.StartTLS()
	const all = 200
	for range all {
		if answer, err := http.Get("http://" + server.Listener.Addr().String()); err == nil { // no TLS
			answer.Body.Close()
		}
	}
	server.Close()
	if n := strings.Count(journal.Text(), "\n"); n < 1 || n == all {
		t.Errorf("%d lines of %d clients", n, all)
	}
}
