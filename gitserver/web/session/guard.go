package session

import (
	"embed"
	"errors"
	"html/template"
	"net/http"

	"refship/deploy/fault"
	"refship/gitserver/web"
)

const (
	loginPath  = "/login"
	logoutPath = "/logout"
)

//go:embed login.html script.js
var files embed.FS

var loginPage = template.Must(template.ParseFS(files, "login.html"))

// Guard answers the paths of the Door, and lets page answer all others, to those who may come in.
func (d *Door) Guard(page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+loginPath, func(w http.ResponseWriter, _ *http.Request) { d.form(w, http.StatusOK, nil) })
	mux.HandleFunc("POST "+loginPath, d.signIn)
	mux.HandleFunc("POST "+logoutPath, d.signOut)
	mux.HandleFunc("GET "+loginPath+"/script.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "script.js")
	})
	mux.Handle("GET /static/", page) // its look, which tells nothing
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { d.visit(w, r, page) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		remote := remoteAddr(r.RemoteAddr)
		switch {
		case !d.isOpenTo(remote):
			http.Error(w, "the page is not shown over plain HTTP; it is at "+d.cfg.URL.String(), http.StatusForbidden)
			return
		case !d.isOwnHost(r.Host):
			http.Error(w, "the page is at "+d.cfg.URL.String()+"; a proxy has to pass the host on",
				http.StatusMisdirectedRequest)
			return
		}
		if err := d.origins.Check(r); err != nil {
			http.Error(w, "this did not come from the page itself", http.StatusForbidden)
			return
		}
		if d.cfg.UserHeader != "" && !d.isProxy(remote) {
			r.Header.Del(d.cfg.UserHeader)
		}
		mux.ServeHTTP(w, r)
	})
}

// setHeaders sets what all answers have, if a page sets nothing else: what a person may read is kept nowhere, and no
// other site's.
func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would take the Origin of the forms away, too
	h.Set("X-Content-Type-Options", "nosniff")
}

// visit lets page answer a user's request.
func (d *Door) visit(w http.ResponseWriter, r *http.Request, page http.Handler) {
	viewer, err := d.Viewer(r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	who := whoIs(viewer)
	if !d.enter(who) {
		http.Error(w, "too many requests of yours run: close some tabs", http.StatusTooManyRequests)
		return
	}
	defer d.leave(who)
	page.ServeHTTP(w, r)
}

// whoIs tells users apart: two keys of one name are two.
func whoIs(v web.Viewer) string { return v.Name + " " + v.Fingerprint }

// refuse answers a request without a user.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if !fault.Is(err, fault.Refused) {
		d.cfg.Log.ErrorContext(r.Context(), "page: no user can be looked up", "error", err)
		http.Error(w, "the server cannot read its keys; its log says why", http.StatusInternalServerError)
		return
	}
	if !errors.Is(err, errNotAsked) {
		d.logRefused(r, err)
	}
	d.form(w, http.StatusForbidden, err)
}

// logRefused logs what strangers can cause, too.
func (d *Door) logRefused(r *http.Request, err error) {
	if more, ok := d.refused.Next(); ok {
		d.cfg.Log.WarnContext(r.Context(), "page: not let in", "address", r.RemoteAddr, "error", err,
			"also_not_let_in", more)
	}
}

// form is the page that signs in; why says why a person sees it, if they did not ask for it.
func (d *Door) form(w http.ResponseWriter, status int, why error) {
	shown := struct{ Why, Remedy, Command string }{Command: d.cfg.Command()}
	if why != nil {
		shown.Why = why.Error()
		if !errors.Is(why, errNotAsked) {
			shown.Remedy = fault.RemedyOf(why)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = loginPage.Execute(w, shown) // the browser may have left
}

var errSpent = errors.New("this link is not good any more: it was used, is older than 10 minutes, or from before a " +
	"start of the server")

// signIn spends a link.
func (d *Door) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	t, ok := parseLink(r.PostFormValue("link")) // of the body alone: an address is logged in many places
	if !ok {
		d.refuse(w, r, d.refusal(errors.New("this is no link to sign in with")))
		return
	}
	pub := d.links.spend(t)
	if pub == nil {
		d.refuse(w, r, d.refusal(errSpent))
		return
	}
	key, err := d.find(pub)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if old, ok := d.token(r); ok {
		d.sessions.spend(old)
	}
	d.setCookie(w, d.sessions.add(pub).String(), int(sessionLife.Seconds()))
	d.cfg.Log.InfoContext(r.Context(), "page: signed in", "address", r.RemoteAddr, "user", key.Name,
		"key", key.Fingerprint())
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (d *Door) signOut(w http.ResponseWriter, r *http.Request) {
	if t, ok := d.token(r); ok {
		d.sessions.spend(t)
	}
	d.setCookie(w, "", -1)
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

func (d *Door) setCookie(w http.ResponseWriter, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: d.cookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: d.isSecure(),
		SameSite: http.SameSiteLaxMode,
	})
}
