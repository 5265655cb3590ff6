package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/gitserver/web/code"
	"refship/keys"
)

const (
	// requestTime bounds the answer to one request, but for downloads and streams of events.
	requestTime = 10 * time.Second
	// requestBytes is how much of etcd one request reads.
	requestBytes = 64 << 20
	// colorTime is how long a page waits for colors.
	colorTime = 2 * time.Second
	// requestsAtOnce is how many requests are answered at the same time, the others wait for their turn.
	requestsAtOnce = 8
	// downloadsAtOnce is how many downloads run at the same time.
	downloadsAtOnce = 16
)

// Viewer is a person who looks, and what they may see.
type Viewer struct {
	Name        string
	Fingerprint string                 // of the key that has signed in, "SHA256:…"; "": a proxy says who it is
	MayRead     func(repo string) bool // as the rules are now
}

// Repository is one that a server has.
type Repository struct {
	Name    string
	Targets []Target // sorted by name
}

// Target says into which chain of which namespace a ref of a repository is deployed.
type Target struct {
	Name      string
	Ref       string // full
	Namespace record.Namespace
}

// Config is what a Web shows, and to whom.
type Config struct {
	// Viewer says who asks. It is called for each request, and again while a stream of events is open. An error (a
	// fault.Refused) is answered with a page that says it, and how to get in.
	Viewer func(*http.Request) (Viewer, error)
	// List gives the repositories that there are now, by name; with an error, those that can be read.
	List func() ([]Repository, error)
	// Find gives one of them. An error says that there is none of that name, or that it cannot be read.
	Find func(name string) (Repository, error)
	// Chain gives a chain to read.
	Chain func(record.Namespace) *store.Chain
	// Allowed says whose signatures count, nil if that is not known.
	Allowed func() (*keys.AllowedSigners, error)
	// IsAhead tells whether a target's ref has what its chain has not; not known: it was not compared yet.
	IsAhead func(repository, target string) (ahead, known bool)
	// Changes tells, until stop is called, when a deploy was published in a namespace, its nodes have reported, or it was
	// held or resumed. It may tell of changes where there are none.
	Changes func(context.Context, record.Namespace) (changed <-chan struct{}, stop func())
	// Remedy words what to do about an error.
	Remedy func(error) string
	// Done is closed when streams of events have to end.
	Done <-chan struct{}
	Log  *slog.Logger
}

// Web answers all paths but those that others own: /livez, /readyz, /metrics, /debug/pprof/, /login and /logout.
type Web struct {
	cfg    Config
	hub    *hub
	static http.Handler
	pages  map[string]*template.Template
	colors *code.Colors

	requestTime, proofTime time.Duration

	turns     *semaphore.Weighted // of pages
	downloads *semaphore.Weighted
	proofs    *semaphore.Weighted // of verifying
	comparing *semaphore.Weighted // of comparing line by line
}

//go:embed page
var files embed.FS

// New makes a Web.
func New(cfg Config) *Web {
	return &Web{
		cfg: cfg, requestTime: requestTime, proofTime: proofTime, hub: newHub(cfg.Changes), static: http.FileServerFS(files), pages: parsePages(),
		turns: semaphore.NewWeighted(requestsAtOnce), downloads: semaphore.NewWeighted(downloadsAtOnce),
		proofs: semaphore.NewWeighted(proofsAtOnce), colors: code.New(colorTime),
		comparing: semaphore.NewWeighted(1),
	}
}

// request is one request on its way.
type request struct {
	*http.Request
	out    http.ResponseWriter
	viewer Viewer
	at     place
	repo   Repository // with at.repo
	target Target     // with at.repo

	status int
	made   *bytes.Buffer // the page; nil: none was made
}

// errNone is the answer to what is not there, and to what the viewer may not read: no one can tell the two apart.
var errNone = errors.New("there is nothing here, or your key may not read it")

// ServeHTTP answers one request.
func (w *Web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	harden(out.Header())
	q := &request{Request: r, out: out}
	defer q.send()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		out.Header().Set("Allow", "GET, HEAD")
		w.fail(q, http.StatusMethodNotAllowed, errors.New("these pages can only be read"))
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/static/"); ok {
		w.serveStatic(q, name)
		return
	}
	var err error
	if q.viewer, err = w.cfg.Viewer(r); err != nil {
		w.fail(q, http.StatusForbidden, err)
		return
	}
	if q.at, err = parsePlace(r.URL); err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, errNone) {
			status = http.StatusNotFound
		}
		w.fail(q, status, err)
		return
	}
	if q.at.repo != "" {
		if q.repo, q.target, err = w.find(q.viewer, q.at.repo, q.at.target); err != nil {
			w.answerError(q, err)
			return
		}
	}
	if q.at.page == pageEvents {
		w.stream(q)
		return
	}
	w.answer(q)
}

// answer answers in its turn, and within bounds.
func (w *Web) answer(q *request) {
	limit, turns := w.requestTime, w.turns
	if q.at.page == pageRaw {
		limit, turns = downloadTime, w.downloads
	}
	ctx, cancel := context.WithTimeout(q.Context(), limit)
	defer cancel()
	wait, stop := context.WithTimeout(ctx, w.requestTime)
	defer stop()
	if err := turns.Acquire(wait, 1); err != nil {
		w.fail(q, http.StatusServiceUnavailable, errors.New("too much is asked for at once: try again"))
		return
	}
	defer turns.Release(1)
	var err error
	switch q.at.page {
	case pageChains:
		err = w.chains(ctx, q)
	case pageTimeline:
		err = w.timeline(ctx, q)
	case pageDeploy:
		err = w.deploy(ctx, q)
	case pageCompare:
		err = w.compare(ctx, q)
	case pageFile:
		err = w.file(ctx, q)
	case pageRaw:
		err = w.raw(ctx, q)
	case pageNodes:
		err = w.nodes(ctx, q)
	}
	if err != nil {
		w.answerError(q, err)
	}
}

// find gives a repository's target, if the viewer may read it. Without a name the target is the only one.
func (w *Web) find(viewer Viewer, repo, target string) (Repository, Target, error) {
	if !viewer.MayRead(repo) {
		return Repository{}, Target{}, errNone
	}
	found, err := w.cfg.Find(repo)
	if err != nil {
		return Repository{}, Target{}, errNone
	}
	for _, t := range found.Targets {
		if t.Name == target || target == "" && len(found.Targets) == 1 {
			return found, t, nil
		}
	}
	return Repository{}, Target{}, errNone
}

// open gives the chain that a request is about, of which it may read so much.
func (w *Web) open(q *request) *store.Chain {
	return w.cfg.Chain(q.target.Namespace).Within(requestBytes)
}

// harden sets what keeps a browser from doing more than showing the page.
func harden(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would take the Origin of the form that signs out away, too
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store") // who sits here next must not find it
}

// serveStatic serves what the pages need. It tells nothing, and needs no viewer.
func (w *Web) serveStatic(q *request, name string) {
	switch name {
	case "page.css", "page.js", "icon.svg":
		q.out.Header().Set("Cache-Control", "private, max-age=300")
		r := q.Clone(q.Context())
		r.URL.Path = "/page/" + name
		w.static.ServeHTTP(q.out, r)
	default:
		w.fail(q, http.StatusNotFound, errNone)
	}
}

// answerError answers with what went wrong.
func (w *Web) answerError(q *request, err error) {
	reason, _ := fault.ReasonOf(err)
	status := http.StatusInternalServerError
	switch {
	case q.Context().Err() != nil:
		return // the client is gone
	case errors.Is(err, errNone), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrEmpty),
		reason == store.ReasonNoPath, reason == store.ReasonNoCommit:
		status = http.StatusNotFound
	case fault.Is(err, fault.Usage):
		status = http.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		status, err = http.StatusServiceUnavailable, fmt.Errorf("it took longer than %s", w.requestTime)
	case errors.Is(err, store.ErrTooMuch):
		status, err = http.StatusUnprocessableEntity, errors.New("this is more than a page may read: "+
			"the command line reads all of it")
	case fault.Is(err, fault.Unavailable):
		status = http.StatusServiceUnavailable
	case reason == store.ReasonExpired:
		status = http.StatusGone
	}
	if status >= http.StatusInternalServerError {
		w.cfg.Log.WarnContext(q.Context(), "web", "path", q.URL.Path, "status", status, "error", err)
	}
	w.fail(q, status, err)
}

// fail answers with a page that says an error, and what to do about it.
func (w *Web) fail(q *request, status int, err error) {
	failed := failure{Status: status, What: err.Error()}
	if w.cfg.Remedy != nil && !errors.Is(err, errNone) {
		failed.Remedy = w.cfg.Remedy(err)
	}
	w.render(q, status, "failure", view{Title: http.StatusText(status), Page: failed})
}

// failure is the page of an error.
type failure struct {
	Status       int
	What, Remedy string
}
