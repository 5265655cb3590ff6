package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"time"

	"refship/deploy/text"
)

// view is what every page has.
type view struct {
	Title  string
	Viewer string
	IsIn   bool   // signed in, and can sign out
	Chain  *links // nil: the page is not about one chain
	Events string // address of the events that concern the page; "": it does not change by itself
	Page   any
}

// functions are those of the templates. Whatever a template prints is escaped for where it stands, by html/template;
// text from outside goes through print before that, so that nothing in it hides what follows or turns its direction.
var functions = template.FuncMap{
	"print": text.Printable,
	"inc":   func(i int) int { return i + 1 },
	"size":  text.Size,
	"count": text.Count,
	"utc":   func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") },
	"iso":   func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
	"timed": timed,
}

// piece is a part of some words: text, or else a time.
type piece struct {
	Text string
	Time time.Time
}

var stamps = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// timed splits words at the times in them, which a browser shows in its reader's zone.
func timed(words string) (all []piece) {
	words = text.Printable(words)
	done := 0
	for _, at := range stamps.FindAllStringIndex(words, -1) {
		stamp, err := time.Parse(time.RFC3339, words[at[0]:at[1]])
		if err != nil || stamp.IsZero() {
			continue // it only looks like one
		}
		all = append(all, piece{Text: words[done:at[0]]}, piece{Time: stamp})
		done = at[1]
	}
	return append(all, piece{Text: words[done:]})
}

// parsePages reads the templates.
func parsePages() map[string]*template.Template {
	pages := map[string]*template.Template{}
	for _, name := range []string{"chains", "timeline", "deploy", "compare", "file", "nodes", "failure"} {
		pages[name] = template.Must(template.New(name).Funcs(functions).
			ParseFS(files, "page/layout.html", "page/parts.html", "page/"+name+".html"))
	}
	return pages
}

// render makes a page, or the part of it that changes by itself, in memory: what goes wrong on the way is no half a
// page, and a browser that takes it slowly keeps nobody waiting.
func (w *Web) render(q *request, status int, name string, v view) {
	v.Viewer, v.IsIn = text.Printable(q.viewer.Name), q.viewer.Fingerprint != ""
	block := "layout"
	if q.at.part && status == http.StatusOK {
		block = "live"
	}
	var b bytes.Buffer
	if err := w.pages[name].ExecuteTemplate(&b, block, v); err != nil {
		w.cfg.Log.ErrorContext(q.Context(), "web", "path", q.URL.Path, "error", err)
		http.Error(q.out, fmt.Sprintf("the page %s cannot be made: the server's log says why", name),
			http.StatusInternalServerError)
		return
	}
	q.status, q.made = status, &b
}

// send sends a page that was made.
func (q *request) send() {
	if q.made == nil {
		return
	}
	q.out.Header().Set("Content-Type", "text/html; charset=utf-8")
	q.out.WriteHeader(q.status)
	_, _ = q.made.WriteTo(q.out) // the browser may be gone
}
