package session

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/gitserver/web"
	"refship/keys"
)

const command = "ssh -p 2222 git@HOST web"

// site is a Door before a page that says who looks at it.
type site struct {
	t    testing.TB
	door *Door
	keys keys.File
	log  *fixture.Journal
	http http.Handler
}

func newSite(t testing.TB, cfg Config, at string) *site {
	t.Helper()
	s := &site{t: t, keys: keys.File{Path: filepath.Join(t.TempDir(), "authorized_keys")}, log: fixture.NewJournal(t)}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL, cfg.Keys, cfg.Log = u, s.keys, slog.New(s.log)
	cfg.Command = func() string { return command }
	if s.door, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	s.http = s.door.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/static/") {
			return // which is for everybody
		}
		viewer, err := s.door.Viewer(r)
		if err != nil {
			t.Errorf("the page was reached: %v", err)
		}
		_, _ = io.WriteString(w, describe(viewer))
	}))
	return s
}

// describe names who looks, and which of some repositories they may read.
func describe(v web.Viewer) string {
	words := []string{"hi", v.Name}
	for _, repo := range []string{"config", "site", "secret"} {
		if v.MayRead(repo) {
			words = append(words, repo)
		}
	}
	return strings.Join(words, " ")
}

// user adds a key with rules.
func (s *site) user(name, allow string) *keys.Key {
	s.t.Helper()
	rules, err := keys.ParseRules(allow)
	if err != nil {
		s.t.Fatal(err)
	}
	key := &keys.Key{Name: name, Rules: rules, PublicKey: fixture.PublicKey()}
	if err := s.keys.Add(name, key.PublicKey, "", rules); err != nil {
		s.t.Fatal(err)
	}
	return key
}

func (s *site) remove(name string) {
	s.t.Helper()
	if _, err := s.keys.Remove(name, ""); err != nil {
		s.t.Fatal(err)
	}
}

// request is a browser's, from this machine to the page's URL, but for what change changes.
func (s *site) request(method, path string, change ...func(*http.Request)) *http.Request {
	var body io.Reader
	path, form, isForm := strings.Cut(path, " ")
	if isForm {
		body = strings.NewReader(form)
	}
	r := httptest.NewRequest(method, path, body)
	r.Host, r.RemoteAddr = s.door.cfg.URL.Host, "127.0.0.1:4000"
	if isForm {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range change {
		c(r)
	}
	return r
}

// answer is what a browser gets.
type answer struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    string
}

func (s *site) do(r *http.Request) answer {
	w := httptest.NewRecorder()
	s.http.ServeHTTP(w, r)
	result := w.Result()
	defer result.Body.Close()
	return answer{result.StatusCode, result.Header, result.Cookies(), w.Body.String()}
}

// signIn gives the cookie of a browser that opens a link.
func (s *site) signIn(link string, change ...func(*http.Request)) *http.Cookie {
	s.t.Helper()
	got := s.do(s.request("POST", "/login link="+url.QueryEscape(link), change...))
	if got.status != http.StatusSeeOther || len(got.cookies) != 1 {
		s.t.Fatalf("sign in: %+v", got)
	}
	return got.cookies[0]
}

func with(c *http.Cookie) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value}) }
}

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

func named(values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header["X-Forwarded-User"] = values }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// want checks an answer's status and that its body has a text.
func (s *site) want(r *http.Request, status int, text string) {
	s.t.Helper()
	if got := s.do(r); got.status != status || !strings.Contains(got.body, text) {
		s.t.Errorf("%s %s: %d, want %d and %q:\n%s", r.Method, r.URL, got.status, status, text, got.body)
	}
}
