package web

import (
	"log/slog"
	"net/http"
)

// Viewer is a person who looks, and what they may see.
type Viewer struct {
	Name        string
	Fingerprint string                 // of the key whose rules count, "SHA256:…"
	MayRead     func(repo string) bool // as the rules are now
}

// Config is what a Web shows, and to whom.
type Config struct {
	// Viewer says who asks. It is called for each request, and again while a stream of events is open. An error (a
	// fault.Refused) is answered with a page that says it, and how to get in.
	Viewer func(*http.Request) (Viewer, error)
	Log    *slog.Logger
}

// Web answers all paths but those that others own: /livez, /readyz, /metrics, /debug/pprof/, /login and /logout.
type Web struct {
	cfg Config
}

// New makes a Web.
func New(cfg Config) *Web { return &Web{cfg: cfg} }

// ServeHTTP answers one request.
func (w *Web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if _, err := w.cfg.Viewer(r); err != nil {
		http.Error(out, err.Error(), http.StatusForbidden)
		return
	}
	http.NotFound(out, r)
}
