package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/conns"
	"refship/gitserver/web"
	"refship/keys"
)

// The bounds.
const (
	LinkLife    = 10 * time.Minute
	sessionLife = 12 * time.Hour
	sessionIdle = 2 * time.Hour

	linksPerKey, maxLinks       = 4, 1000
	sessionsPerKey, maxSessions = 16, 10_000
	// maxRequests is how many requests of one user run at a time: some tabs, each with a stream of events.
	maxRequests = 64
	// maxForm bounds what a browser sends, in bytes.
	maxForm = 4 << 10
)

// Config is what a Door needs.
type Config struct {
	// URL is where people reach the page: scheme and host, and nothing else.
	URL *url.URL
	// TLS: connections are encrypted here, and strangers may come. Without, only Proxies may, or, where there are none,
	// this machine.
	TLS     bool
	Proxies []netip.Prefix
	// UserHeader is where Proxies name the user of a request, such as "X-Forwarded-User"; "": they do not. A proxy that
	// does not set it may hand on what a browser has sent.
	UserHeader string
	Keys       keys.File
	// Command gives the command that makes a link, such as "ssh -p 2222 git@HOST web".
	Command func() string
	Log     *slog.Logger
}

// Door lets requests in, or not.
type Door struct {
	cfg      Config
	cookie   string // its name
	links    *tokens
	sessions *tokens
	origins  *http.CrossOriginProtection
	refused  conns.Flood

	mu      sync.Mutex
	running map[string]int // requests of each user
}

// New makes a Door.
func New(cfg Config) (*Door, error) {
	d := &Door{
		cfg: cfg, cookie: "refship", running: make(map[string]int), origins: http.NewCrossOriginProtection(),
		links:    newTokens(LinkLife, LinkLife, linksPerKey, maxLinks),
		sessions: newTokens(sessionLife, sessionIdle, sessionsPerKey, maxSessions),
	}
	if port := cfg.URL.Port(); port != "" {
		d.cookie += "-" + port
	}
	if d.isSecure() {
		d.cookie = "__Host-" + d.cookie
	}
	// A proxy may pass the request on with a host of its own.
	if err := d.origins.AddTrustedOrigin(cfg.URL.Scheme + "://" + cfg.URL.Host); err != nil {
		return nil, err
	}
	return d, nil
}

// isSecure tells whether browsers reach the page over TLS, from here or from a proxy.
func (d *Door) isSecure() bool { return d.cfg.URL.Scheme == "https" }

// Link makes a link that signs in as a key, which has authenticated.
func (d *Door) Link(key *keys.Key) string {
	link := *d.cfg.URL
	link.Path, link.Fragment = loginPath, d.links.add(key.PublicKey).String()
	return link.String()
}

// errNotAsked is the answer to a request that does not say who asks.
var errNotAsked = errors.New("you are not signed in")

// Viewer says who asks, by the keys file as it is now. Its errors are of the kind Refused where the request is to
// blame.
func (d *Door) Viewer(r *http.Request) (web.Viewer, error) {
	if d.cfg.UserHeader != "" && d.isProxy(remoteAddr(r.RemoteAddr)) {
		if named := r.Header.Values(d.cfg.UserHeader); len(named) > 0 {
			return d.named(named)
		}
	}
	key, err := d.signedIn(r)
	if err != nil {
		return web.Viewer{}, err
	}
	return web.Viewer{
		Name: key.Name, Fingerprint: key.Fingerprint(),
		MayRead: func(repo string) bool { return key.May(keys.Read, repo) },
	}, nil
}

// named is the user that a proxy names.
func (d *Door) named(names []string) (web.Viewer, error) {
	refuse := func(format string, args ...any) (web.Viewer, error) {
		return web.Viewer{}, fault.Refuse("this is a matter of the proxy, and of the server's operator", format, args...)
	}
	if len(names) > 1 {
		return refuse("the header %s comes %d times", d.cfg.UserHeader, len(names))
	}
	if keys.CheckName(names[0]) != nil {
		return refuse("the header %s names no user: %s", d.cfg.UserHeader, text.Mention(text.Clip(names[0])))
	}
	own, err := d.cfg.Keys.Named(names[0])
	switch {
	case err != nil:
		return web.Viewer{}, fmt.Errorf("read keys: %w", err)
	case len(own) == 0:
		return refuse("no key here is named %s", names[0])
	}
	return web.Viewer{Name: names[0], MayRead: func(repo string) bool {
		for _, key := range own {
			if key.May(keys.Read, repo) {
				return true
			}
		}
		return false
	}}, nil
}

// signedIn is the key of a request's session.
func (d *Door) signedIn(r *http.Request) (*keys.Key, error) {
	t, ok := d.token(r)
	if !ok {
		return nil, d.refusal(errNotAsked)
	}
	pub := d.sessions.use(t)
	if pub == nil {
		return nil, d.refusal(errors.New("you are signed in no more"))
	}
	key, err := d.find(pub)
	if fault.Is(err, fault.Refused) {
		d.sessions.spend(t)
	}
	return key, err
}

// token is that of a request's cookie. Two cookies of that name are none: another server of this host may have set one.
func (d *Door) token(r *http.Request) (token, bool) {
	cookies := r.CookiesNamed(d.cookie)
	if len(cookies) != 1 {
		return token{}, false
	}
	return parseToken(cookies[0].Value)
}

// find looks a key up in the file as it is now.
func (d *Door) find(pub ssh.PublicKey) (*keys.Key, error) {
	key, err := d.cfg.Keys.Find(pub)
	if err != nil && !errors.Is(err, keys.ErrLine) {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if key == nil { // or its line became unusable, which is the operator's concern
		return nil, fault.Refuse("ask the server's operator to add it again", "key %s is not known here any more",
			ssh.FingerprintSHA256(pub))
	}
	return key, nil
}

// refusal tells a person how to get in.
func (d *Door) refusal(why error) error {
	return &fault.Error{
		Kind: fault.Refused, What: why.Error(), Cause: why,
		Remedy: "run this, and open the link that it prints: " + d.cfg.Command(),
	}
}

// isOpenTo tells whether a connection from an address may see anything of the page.
func (d *Door) isOpenTo(addr netip.Addr) bool {
	switch {
	case d.cfg.TLS:
		return true
	case len(d.cfg.Proxies) > 0:
		return d.isProxy(addr)
	}
	return addr.IsLoopback()
}

// isOwnHost tells whether a request is to the page, and not to another name that leads here.
func (d *Door) isOwnHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host, own := strings.Trim(host, "[]"), d.cfg.URL.Hostname()
	return strings.EqualFold(host, own) || IsLoopback(own) && IsLoopback(host)
}

// IsLoopback tells whether a host is this machine's, whatever answers for names.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// enter counts a user's request; false if too many run. The request must leave.
func (d *Door) enter(user string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[user] >= maxRequests {
		return false
	}
	d.running[user]++
	return true
}

func (d *Door) leave(user string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[user]--; d.running[user] == 0 {
		delete(d.running, user)
	}
}
