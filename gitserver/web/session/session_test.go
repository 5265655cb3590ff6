package session

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const loopback = "http://127.0.0.1:9180"

// A link signs in once, as its key, and what is signed in may see what that key may read, until it signs out.
func TestLink(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	link := s.door.Link(s.user("laptop", "deploy:config,read:site"))
	s.want(s.request("GET", "/"), 403, command)
	s.want(s.request("GET", "/login"), 200, command)
	if !strings.HasPrefix(link, loopback+"/login#") {
		t.Errorf("link: %s", link)
	}
	// A preview of the link, which gets no more than this, spends nothing.
	s.want(s.request("GET", "/login"), 200, "<form")
	s.want(s.request("HEAD", "/login"), 200, "")
	cookie := s.signIn(link)
	s.want(s.request("GET", "/", with(cookie)), 200, "hi laptop config site")
	s.want(s.request("POST", "/login link="+url.QueryEscape(link)), 403, "this link is not good any more")
	s.want(s.request("POST", "/login link="+url.QueryEscape(link), with(cookie)), 403, command)
	s.want(s.request("GET", "/", with(cookie)), 200, "hi laptop")
	if got := s.do(s.request("POST", "/logout", with(cookie))); got.status != http.StatusSeeOther ||
		got.cookies[0].MaxAge >= 0 {
		t.Errorf("sign out: %+v", got)
	}
	s.want(s.request("GET", "/", with(cookie)), 403, "you are signed in no more")
}

// What a browser keeps: nothing that a script, another site or plain HTTP gets.
func TestCookie(t *testing.T) {
	for at, want := range map[string]string{
		loopback:                      "refship-9180=; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax",
		"https://deploy.example":      "__Host-refship=; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Lax",
		"https://deploy.example:8443": "__Host-refship-8443=; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Lax",
	} {
		s := newSite(t, Config{TLS: strings.HasPrefix(at, "https")}, at)
		cookie := s.signIn(s.door.Link(s.user("laptop", "read:*")), from("192.0.2.1:4000"),
			func(r *http.Request) {
				if !s.door.cfg.TLS {
					r.RemoteAddr = "[::1]:4000"
				}
			})
		got := strings.Replace(cookie.Raw, cookie.Value, "", 1)
		if got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
}

// Links are good for ten minutes, sessions for twelve hours and for two without a request.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Config{}, loopback)
		key := s.user("laptop", "read:*")
		link := s.door.Link(key)
		time.Sleep(LinkLife)
		s.want(s.request("POST", "/login link="+url.QueryEscape(link)), 403, "older than 10 minutes")
		link = s.door.Link(key)
		time.Sleep(LinkLife - time.Nanosecond)
		cookie := s.signIn(link)

		time.Sleep(sessionIdle - time.Nanosecond)
		s.want(s.request("GET", "/", with(cookie)), 200, "hi laptop")
		time.Sleep(sessionIdle)
		s.want(s.request("GET", "/", with(cookie)), 403, "signed in no more")

		cookie = s.signIn(s.door.Link(key))
		began := time.Now()
		for time.Since(began) < sessionLife-time.Hour {
			time.Sleep(time.Hour)
			s.want(s.request("GET", "/", with(cookie)), 200, "hi laptop")
		}
		time.Sleep(time.Hour)
		s.want(s.request("GET", "/", with(cookie)), 403, "signed in no more")
	})
}

// A key that was removed is out with its next request, and new rules count with the next one, too.
func TestRulesOfNow(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	key := s.user("laptop", "read:config")
	link, cookie := s.door.Link(key), s.signIn(s.door.Link(key))
	s.want(s.request("GET", "/", with(cookie)), 200, "hi laptop config")
	if _, err := s.keys.Set("laptop", "", key.Rules[:0]); err == nil {
		t.Error("no rules were taken")
	}
	s.remove("laptop")
	s.want(s.request("GET", "/", with(cookie)), 403, "is not known here any more")
	s.want(s.request("POST", "/login link="+url.QueryEscape(link)), 403, "is not known here any more")
	// The session has ended for good, also where the key comes back.
	if err := s.keys.Add("laptop", key.PublicKey, "", key.Rules); err != nil {
		t.Fatal(err)
	}
	s.want(s.request("GET", "/", with(cookie)), 403, "signed in no more")

	other := s.user("other", "read:config")
	cookie = s.signIn(s.door.Link(other))
	s.user("third", "read:site")
	third := s.door.Link(other)
	other.Rules[0].Repository = "site"
	if _, err := s.keys.Set("other", "", other.Rules); err != nil {
		t.Fatal(err)
	}
	s.want(s.request("GET", "/", with(cookie)), 200, "hi other site")
	s.want(s.request("GET", "/", with(s.signIn(third))), 200, "hi other site")
}

// Without a good cookie nothing of the page is reached.
func TestForeignCookies(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	key := s.user("laptop", "read:*")
	link := s.door.Link(key)
	secret := link[strings.LastIndex(link, "#")+1:]
	cookie := s.signIn(s.door.Link(key))
	for _, value := range []string{
		"", "x", newToken().String(), cookie.Value + "A", cookie.Value[1:], "A" + cookie.Value[1:],
		secret, // a link is no session
	} {
		if value == cookie.Value {
			continue
		}
		s.want(s.request("GET", "/", header("Cookie", s.door.cookie+"="+value)), 403, "signed in")
	}
	s.want(s.request("GET", "/", header("Cookie", "refship="+cookie.Value)), 403, "not signed in")
	s.want(s.request("GET", "/", with(cookie), with(cookie)), 403, "not signed in")
	s.want(s.request("GET", "/", with(&http.Cookie{Name: cookie.Name, Value: "x"}), with(cookie)), 403, "not signed in")
	// A session is no link, and a link in an address is none.
	s.want(s.request("POST", "/login link="+cookie.Value), 403, "not good any more")
	s.want(s.request("POST", "/login?link="+secret+" a=b"), 403, "no link")
	s.want(s.request("GET", "/login?link="+secret), 200, "")
	s.want(s.request("POST", "/login link="+strings.Repeat("A", maxForm)), 403, "no link")
	s.want(s.request("GET", "/", with(cookie)), 200, "hi laptop")
	s.signIn(secret)
}

// Secrets are in no log, in no answer, and not in memory.
func TestNoSecretIsKept(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	link := s.door.Link(s.user("laptop", "read:*"))
	secret := link[strings.LastIndex(link, "#")+1:]
	cookie := s.signIn(link)
	s.want(s.request("POST", "/login link="+url.QueryEscape(link)), 403, "not good")
	if text := s.log.Text(); strings.Contains(text, secret) || strings.Contains(text, cookie.Value) {
		t.Errorf("in the log: %s", text)
	}
	parsed, _ := parseToken(cookie.Value)
	for hash := range s.door.sessions.good {
		if hash == [32]byte(parsed) || hash != parsed.hash() {
			t.Error("what is kept is not the hash")
		}
	}
}

// A key has some links and sessions, and more take the place of its own, not of others'.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Config{}, loopback)
		laptop, other := s.user("laptop", "read:*"), s.user("other", "read:*")
		others, first := s.door.Link(other), s.door.Link(laptop)
		var last string
		for range linksPerKey {
			time.Sleep(time.Second)
			last = s.door.Link(laptop)
		}
		s.want(s.request("POST", "/login link="+url.QueryEscape(first)), 403, "not good")
		s.signIn(last)
		stays := s.signIn(others)
		cookie := s.signIn(s.door.Link(laptop))
		for range sessionsPerKey {
			time.Sleep(time.Second)
			s.signIn(s.door.Link(laptop))
		}
		s.want(s.request("GET", "/", with(cookie)), 403, "no more")
		s.want(s.request("GET", "/", with(stays)), 200, "hi other")

		all := newTokens(time.Hour, time.Hour, 10, 3)
		one := all.add(laptop.PublicKey)
		for range 3 {
			time.Sleep(time.Second)
			all.add(other.PublicKey)
		}
		if len(all.good) != 3 || all.use(one) != nil {
			t.Errorf("%d are kept, of at most 3", len(all.good))
		}
		time.Sleep(time.Hour)
		if all.add(laptop.PublicKey); len(all.good) != 1 {
			t.Errorf("%d are kept, where all but one are over", len(all.good))
		}
	})
}

// A new sign-in ends the session that the browser had.
func TestSignInAnew(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	key := s.user("laptop", "read:*")
	first := s.signIn(s.door.Link(key))
	second := s.signIn(s.door.Link(key), with(first))
	s.want(s.request("GET", "/", with(first)), 403, "no more")
	s.want(s.request("GET", "/", with(second)), 200, "hi laptop")
}

// Requests of one user that run at a time are bounded, and others go on.
func TestRequestsAtATime(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	busy, idle := s.user("busy", "read:*"), s.user("idle", "read:*")
	cookie, other := s.signIn(s.door.Link(busy)), s.signIn(s.door.Link(idle))
	viewer, err := s.door.Viewer(s.request("GET", "/", with(cookie)))
	if err != nil {
		t.Fatal(err)
	}
	for range maxRequests {
		if !s.door.enter(whoIs(viewer)) {
			t.Fatal("a request is not let in")
		}
	}
	s.want(s.request("GET", "/", with(cookie)), 429, "too many")
	s.want(s.request("GET", "/", with(other)), 200, "hi idle")
	s.door.leave(whoIs(viewer))
	s.want(s.request("GET", "/", with(cookie)), 200, "hi busy")
	for range maxRequests - 1 {
		s.door.leave(whoIs(viewer))
	}
	if len(s.door.running) != 0 {
		t.Errorf("left over: %v", s.door.running)
	}
}

// A keys file that cannot be read lets nobody in, and says so to the operator.
func TestKeysCannotBeRead(t *testing.T) {
	s := newSite(t, Config{Proxies: mustProxies(t, "127.0.0.2"), UserHeader: userHeader}, "https://deploy.example")
	cookie := s.signIn(s.door.Link(s.user("laptop", "read:*")), from("127.0.0.2:1"))
	makeWritable(t, s.keys.Path)
	s.want(s.request("GET", "/", with(cookie), from("127.0.0.2:1")), 500, "its log says why")
	s.want(s.request("GET", "/", named("laptop"), from("127.0.0.2:1")), 500, "its log says why")
	if text := s.log.Text(); !strings.Contains(text, "group or others may write it") {
		t.Errorf("log: %s", text)
	}
}

// Strangers do not fill the log.
func TestLogOfStrangers(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	for range 1000 {
		s.want(s.request("POST", "/login link="+newToken().String()), 403, "not good")
	}
	if n := len(s.log.About("page: not let in")); n < 10 || n > 100 {
		t.Errorf("%d lines", n)
	}
}
