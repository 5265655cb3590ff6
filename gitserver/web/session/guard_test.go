package session

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func mustProxies(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	all, err := ParseProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func makeWritable(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
}

const (
	behind     = "https://deploy.example"
	userHeader = "X-Forwarded-User"
)

// A proxy's user has the rules of all keys of that name. The header of everybody else is nothing.
func TestProxy(t *testing.T) {
	s := newSite(t, Config{Proxies: mustProxies(t, "10.0.0.0/24", "2001:db8::/64"), UserHeader: userHeader}, behind)
	s.user("alice", "read:config")
	s.user("alice", "deploy:site")
	s.user("bob", "read:secret")
	for _, proxy := range []string{"10.0.0.7:4000", "[2001:db8::1]:4000", "[::ffff:10.0.0.9]:1"} {
		s.want(s.request("GET", "/", from(proxy), named("alice")), 200, "hi alice config site")
		s.want(s.request("GET", "/", from(proxy), named("bob")), 200, "hi bob secret")
		for _, wrong := range []string{"carol", "", "(null)", "alice, bob", "alice\t", "../x", "*", strings.Repeat("a", 65)} {
			s.want(s.request("GET", "/", from(proxy), named(wrong)), 403, "a matter of the proxy")
		}
		s.want(s.request("GET", "/", from(proxy), named("alice", "alice")), 403, "comes 2 times")
		s.want(s.request("GET", "/", from(proxy), named("alice", "bob")), 403, "comes 2 times")
		s.want(s.request("GET", "/", from(proxy)), 403, "not signed in")
	}
	for _, other := range []string{"127.0.0.1:4000", "10.0.1.7:4000", "[2001:db8:1::1]:1", "@", "", "10.0.0.7"} {
		s.want(s.request("GET", "/", from(other), named("alice")), 403, "not shown over plain HTTP; it is at "+behind)
	}
	s.remove("alice")
	s.want(s.request("GET", "/", from("10.0.0.7:4000"), named("alice")), 403, "no key here is named alice")
}

// Over TLS everybody may come, and only a proxy may name users. The page does not see the header of others.
func TestHeaderFromElsewhere(t *testing.T) {
	s := newSite(t, Config{TLS: true, Proxies: mustProxies(t, "10.0.0.7"), UserHeader: userHeader}, behind)
	key := s.user("alice", "read:config")
	s.user("bob", "read:secret")
	s.want(s.request("GET", "/", from("10.0.0.8:1"), named("bob")), 403, "not signed in")
	cookie := s.signIn(s.door.Link(key), from("10.0.0.8:1"), named("bob"))
	s.want(s.request("GET", "/", from("10.0.0.8:1"), named("bob"), with(cookie)), 200, "hi alice config")
	seen := false
	s.http = s.door.Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = true
		if r.Header.Values("X-Forwarded-User") != nil {
			t.Error("the page sees the header")
		}
	}))
	s.want(s.request("GET", "/", from("10.0.0.8:1"), named("bob"), with(cookie)), 200, "")
	if !seen {
		t.Error("the page was not asked")
	}
}

// A header that names no user is refused, also where the browser has a session.
func TestHeaderBesideASession(t *testing.T) {
	s := newSite(t, Config{Proxies: mustProxies(t, "10.0.0.7"), UserHeader: userHeader}, behind)
	cookie := s.signIn(s.door.Link(s.user("alice", "read:config")), from("10.0.0.7:1"))
	s.user("bob", "read:secret")
	s.want(s.request("GET", "/", from("10.0.0.7:1"), with(cookie)), 200, "hi alice")
	s.want(s.request("GET", "/", from("10.0.0.7:1"), with(cookie), named("bob")), 200, "hi bob")
	s.want(s.request("GET", "/", from("10.0.0.7:1"), with(cookie), named("carol")), 403, "")
	s.want(s.request("GET", "/", from("10.0.0.7:1"), with(cookie), named("")), 403, "")
}

// A proxy that was not said to name users names nobody: it may hand on what a browser sends.
func TestProxyWithoutUsers(t *testing.T) {
	s := newSite(t, Config{Proxies: mustProxies(t, "10.0.0.7")}, behind)
	key := s.user("alice", "read:config")
	for _, name := range []string{"X-Forwarded-User", "Remote-User", ""} {
		s.want(s.request("GET", "/", from("10.0.0.7:1"), func(r *http.Request) { r.Header[name] = []string{"alice"} }), 403,
			"not signed in")
	}
	cookie := s.signIn(s.door.Link(key), from("10.0.0.7:1"))
	s.want(s.request("GET", "/", from("10.0.0.7:1"), with(cookie)), 200, "hi alice")
}

// The page has one name; another that leads here has none of it.
func TestHosts(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	cookie := s.signIn(s.door.Link(s.user("laptop", "read:*")))
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	for _, own := range []string{"127.0.0.1:9180", "localhost:9180", "LOCALHOST", "[::1]:9180", "127.0.0.1"} {
		s.want(s.request("GET", "/", with(cookie), host(own)), 200, "hi")
	}
	for _, other := range []string{"evil.example", "evil.example:9180", "", "127.0.0.1.evil.example", "192.0.2.1:9180",
		"localhost.evil.example:9180"} {
		s.want(s.request("GET", "/", with(cookie), host(other)), 421, "the page is at "+loopback)
		s.want(s.request("GET", "/login", host(other)), 421, "")
	}
	s = newSite(t, Config{TLS: true}, behind)
	s.want(s.request("GET", "/login", host("DEPLOY.example:443")), 200, "")
	s.want(s.request("GET", "/login", host("127.0.0.1")), 421, "")
}

// What another site's page sends changes nothing.
func TestOrigins(t *testing.T) {
	s := newSite(t, Config{TLS: true}, behind)
	key := s.user("laptop", "read:*")
	cookie := s.signIn(s.door.Link(key))
	for _, change := range [][2]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"},
		{"Origin", "null"}, {"Origin", "https://deploy.example:8443"},
	} {
		link := s.door.Link(key)
		s.want(s.request("POST", "/login link="+link[strings.Index(link, "#")+1:], header(change[0], change[1])), 403,
			"from the page itself")
		s.want(s.request("POST", "/logout", with(cookie), header(change[0], change[1])), 403, "from the page itself")
		s.signIn(link, header("Sec-Fetch-Site", "same-origin"))
	}
	s.want(s.request("GET", "/", with(cookie)), 200, "hi")
	// A link in a chat leads to the page.
	s.want(s.request("GET", "/", with(cookie), header("Sec-Fetch-Site", "cross-site")), 200, "hi")
	// A proxy may pass requests on to a port of its own choice.
	s.signIn(s.door.Link(key), header("Origin", behind), func(r *http.Request) { r.Host = "deploy.example:9180" })
}

// The answers are for one person, and no frame, script or page of another site.
func TestHeaders(t *testing.T) {
	s := newSite(t, Config{}, loopback)
	cookie := s.signIn(s.door.Link(s.user("laptop", "read:*")))
	for _, r := range []*http.Request{
		s.request("GET", "/login"), s.request("GET", "/"), s.request("GET", "/", with(cookie)),
		s.request("GET", "/login/script.js"),
	} {
		h := s.do(r).header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; ") ||
			h.Get("Cache-Control") != "no-store" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" ||
			h.Get("Referrer-Policy") != "same-origin" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", r.URL, h)
		}
	}
	if kind := s.do(s.request("GET", "/login/script.js")).header.Get("Content-Type"); !strings.HasPrefix(kind,
		"text/javascript") {
		t.Errorf("script.js is %s", kind)
	}
	s.want(s.request("GET", "/login/door.go"), 403, "")
	s.want(s.request("GET", "/login/"), 403, "")
	s.want(s.request("POST", "/static/page.css"), 403, "")
	s.want(s.request("GET", "/static/../"), 307, "")
}

func TestParseProxies(t *testing.T) {
	got := mustProxies(t, "10.0.0.7", "10.1.2.3/8", "2001:db8::1/32", "::ffff:192.0.2.0/120")
	want := []string{"10.0.0.7/32", "10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"}
	for i, prefix := range got {
		if prefix.String() != want[i] {
			t.Errorf("%s, want %s", prefix, want[i])
		}
	}
	for _, wrong := range []string{"", "x", "10.0.0", "10.0.0.0/33", "0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96",
		"fe80::1%eth0", "::ffff:1.2.3.4/64", "10.0.0.7:80"} {
		if all, err := ParseProxies([]string{wrong}); err == nil {
			t.Errorf("%q: %v", wrong, all)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	for name, want := range map[string]bool{"X-Forwarded-User": true, "remote-user": true, "": false, "a b": false,
		"x:": false, "ü": false, "a\r\nb": false} {
		if err := CheckHeader(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzToken: a token has one spelling.
func FuzzToken(f *testing.F) {
	f.Add(newToken().String())
	f.Add(loopback + "/login#" + newToken().String())
	f.Add("\n" + newToken().String() + " ")
	f.Add(newToken().String()[:42] + "_")
	f.Add("#")
	f.Fuzz(func(t *testing.T, text string) {
		if read, ok := parseToken(text); ok && read.String() != text {
			t.Errorf("%q is taken for %s", text, read)
		}
		if read, ok := parseLink(text); ok && !strings.HasSuffix(strings.TrimSpace(text), read.String()) {
			t.Errorf("%q is taken for %s", text, read)
		}
	})
}

// FuzzUserHeader: whatever a proxy says, the user is one that has a key, by exactly that name.
func FuzzUserHeader(f *testing.F) {
	for _, seed := range []string{"alice", "bob", "", "alice,bob", "ALICE", "alice\n", "\xff", `name="alice"`, "a"} {
		f.Add(seed)
	}
	s := newSite(f, Config{Proxies: mustProxies(f, "10.0.0.7"), UserHeader: userHeader}, behind)
	s.user("alice", "read:config")
	s.user("bob", "read:secret")
	f.Fuzz(func(t *testing.T, name string) {
		r := s.request("GET", "/", from("10.0.0.7:1"), named(name))
		viewer, err := s.door.Viewer(r)
		if err == nil != (name == "alice" || name == "bob") || viewer.Name != name && err == nil {
			t.Errorf("%q is taken for %q: %v", name, viewer.Name, err)
		}
	})
}

// FuzzRemoteAddr: an address that is not understood is none of this machine's and no proxy's.
func FuzzRemoteAddr(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:1", "[::1]:1", "[fe80::1%eth0]:2", "", "@", "127.0.0.1", "[::ffff:10.0.0.7]:3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, remote string) {
		addr := remoteAddr(remote)
		if addr.Zone() != "" || addr.Is4In6() {
			t.Errorf("%q: %s", remote, addr)
		}
		if addr.IsValid() {
			if _, _, err := net.SplitHostPort(remote); err != nil {
				t.Errorf("%q: %s", remote, addr)
			}
		} else if addr.IsLoopback() || len(remote) > 0 && mustProxies(t, "0.0.0.0/1", "128.0.0.0/1")[0].Contains(addr) {
			t.Errorf("%q is somebody's", remote)
		}
	})
}
