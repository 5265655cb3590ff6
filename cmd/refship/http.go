package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"refship/cmd/refship/monitor"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/gitserver/web/session"
	"refship/keys"
)

// httpFlags are about the port of --http.
type httpFlags struct {
	HTTP             string   `variable:"" name:"http" placeholder:"HOST:PORT" help:"Answer /livez, /readyz and /metrics there, for monitoring; there is no password for these. On a loopback address, over TLS or behind a proxy, show the page, too: ssh HOST web prints a link to it."`
	HTTPCertFile     string   `variable:"" name:"http-cert-file" placeholder:"FILE" help:"Certificate for --http, with its chain: all of it is over TLS then. It is read anew when it was changed."`
	HTTPKeyFile      string   `variable:"" name:"http-key-file" placeholder:"FILE" help:"Key of that certificate."`
	HTTPURL          string   `variable:"" name:"http-url" placeholder:"URL" help:"Where people reach the page, such as https://deploy.example.com, if that is not --http itself."`
	HTTPTrustedProxy []string `variable:"" name:"http-trusted-proxy" placeholder:"CIDR" help:"Addresses of proxies before the page. Without --http-cert-file nobody else is shown it. Needs --http-url."`
	HTTPUserHeader   string   `variable:"" name:"http-user-header" placeholder:"NAME" help:"The header in which these proxies name the user of a request, such as X-Forwarded-User: the name of a key. Without, people sign in with a link."`
	HTTPProfiles     bool     `variable:"" name:"http-profiles" help:"Answer /debug/pprof there, too, which shows the inside of the process."`

	proxies []netip.Prefix // of HTTPTrustedProxy, once check has read it
	url     *url.URL       // of HTTPURL
}

// check refuses flags that contradict each other.
func (f *httpFlags) check() (err error) {
	if f.HTTP == "" {
		for flag, given := range map[string]bool{
			"--http-profiles": f.HTTPProfiles, "--http-cert-file": f.HTTPCertFile != "", "--http-url": f.HTTPURL != "",
			"--http-key-file": f.HTTPKeyFile != "", "--http-user-header": f.HTTPUserHeader != "",
			"--http-trusted-proxy": len(f.HTTPTrustedProxy) > 0,
		} {
			if given {
				return usagef("%s belongs to --http, which is missing", flag)
			}
		}
		return nil
	}
	if err := checkAddress("--http", f.HTTP); err != nil {
		return err
	}
	if f.proxies, err = session.ParseProxies(f.HTTPTrustedProxy); err != nil {
		return asUsage("--http-trusted-proxy", err)
	}
	if f.HTTPUserHeader != "" {
		if err := session.CheckHeader(f.HTTPUserHeader); err != nil {
			return asUsage("--http-user-header", err)
		}
	}
	if f.HTTPURL != "" {
		if f.url, err = parsePageURL(f.HTTPURL); err != nil {
			return err
		}
	}
	switch {
	case (f.HTTPCertFile == "") != (f.HTTPKeyFile == ""):
		return usagef("--http-cert-file and --http-key-file belong together, and only one of them is given")
	case f.HTTPUserHeader != "" && len(f.proxies) == 0:
		return usagef("--http-user-header belongs to --http-trusted-proxy, which is missing")
	case len(f.proxies) > 0 && f.url == nil:
		return usagef("--http-trusted-proxy needs --http-url: what people type to reach the page through the proxy")
	case f.isTLS() && f.url == nil && f.host() == "":
		return usagef("--http %s over TLS needs --http-url: the certificate's name, as in https://deploy.example.com", f.HTTP)
	case f.isTLS() && f.url != nil && f.url.Scheme != "https":
		return usagef("--http-url %s: with --http-cert-file it begins with https://", f.HTTPURL)
	case f.url != nil && !f.hasPage():
		return usagef("--http-url: there is no page on %s over plain HTTP; %s", f.HTTP, pageRemedy)
	}
	return nil
}

// parsePageURL reads --http-url. Over plain HTTP anybody on the way could take a session.
func parsePageURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usagef("--http-url: %q is no URL such as https://deploy.example.com", text)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, usagef("--http-url: %q has more than a scheme, a host and a port", text)
	}
	if u.Scheme == "http" && !session.IsLoopback(u.Hostname()) {
		return nil, usagef("--http-url: %q is plain HTTP, and so only for this machine; give an https:// one", text)
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

// pageRemedy is what makes a port show the page.
const pageRemedy = "give a loopback address such as 127.0.0.1:9180, or --http-cert-file and --http-key-file, or " +
	"--http-trusted-proxy"

func (f *httpFlags) isTLS() bool { return f.HTTPCertFile != "" }

// host is that of --http; "" if it is every address of this machine.
func (f *httpFlags) host() string {
	host, _, _ := net.SplitHostPort(f.HTTP) // check has refused what is none
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
		return ""
	}
	return host
}

// hasPage tells whether nobody on the way can look on.
func (f *httpFlags) hasPage() bool {
	return f.isTLS() || len(f.proxies) > 0 || session.IsLoopback(f.host())
}

// maxHTTPConns bounds the connections of --http: they must not take the file descriptors that pushes need.
const maxHTTPConns = 1000

// openMonitor starts the HTTP server of --http, and gives what to tell the operator about it. The monitor is nil
// without that flag. From now on it observes etcd's client.
func (s *server) openMonitor(ctx context.Context) (*monitor.Monitor, []string, error) {
	if s.flags.HTTP == "" {
		return nil, nil, nil
	}
	listener, err := listen(ctx, "--http", s.flags.HTTP)
	if err != nil {
		return nil, nil, err
	}
	addr, scheme := listener.Addr().String(), "http"
	listener = netutil.LimitListener(listener, maxHTTPConns)
	if s.flags.isTLS() {
		scheme = "https"
		certificate, err := session.LoadCertificate(s.flags.HTTPCertFile, s.flags.HTTPKeyFile, s.log)
		if err != nil {
			return nil, nil, fmt.Errorf("--http-cert-file: %w", err)
		}
		listener = tls.NewListener(listener, certificate.Config())
	}
	var m *monitor.Monitor
	page, lines, err := s.openPage(ctx, scheme, addr, func() *monitor.Monitor { return m })
	if err != nil {
		return nil, nil, err
	}
	version, revision := buildVersion()
	m = monitor.New(monitor.Config{
		Listener: listener, Profiles: s.flags.HTTPProfiles, DataDir: s.dir.path, Repos: s.dir.repos(), Store: s.store,
		EtcdOps: etcd.RequestOps(), Version: version, Revision: revision, Log: s.log, Page: page,
	})
	observe := func(r etcd.Request) { m.EtcdRequest(r.Op, r.Took, r.Code) }
	s.etcd.client.KV = etcd.Observed(s.etcd.client.KV, observe)
	s.etcd.client.Lease = etcd.ObservedLease(s.etcd.client.Lease, observe)
	m.Start()
	lines = append([]string{"http on " + scheme + "://" + addr}, lines...)
	if s.flags.HTTPProfiles {
		lines = append(lines,
			"warning: everyone who can reach "+addr+" can read the memory of this process at /debug/pprof")
	}
	return m, lines, nil
}

// openPage makes the page of a port, nil if it has none, and gives what to tell about it.
func (s *server) openPage(ctx context.Context, scheme, addr string, watch func() *monitor.Monitor) (
	http.Handler, []string, error,
) {
	if !s.flags.hasPage() {
		return nil, []string{"no page on " + scheme + "://" + addr + ": over plain HTTP others could look on; " + pageRemedy},
			nil
	}
	at := s.flags.url
	if at == nil {
		_, port, _ := net.SplitHostPort(addr) // a listener's, so it has one
		at = &url.URL{Scheme: scheme, Host: net.JoinHostPort(s.flags.host(), port)}
	}
	door, err := session.New(session.Config{
		URL: at, TLS: s.flags.isTLS(), Proxies: s.flags.proxies, Keys: s.dir.keys(), Log: s.log,
		UserHeader: s.flags.HTTPUserHeader,
		Command:    func() string { return s.ssh.SSH() + " web" },
	})
	if err != nil {
		return nil, nil, err
	}
	s.door, s.pageURL = door, at
	s.page = s.newPage(ctx, watch)
	s.ssh.ListensOn(s.flags.port()) // announce knows what a free one is
	lines := []string{"page on " + at.String() + "; a link to it: " + s.ssh.SSH() + " web"}
	for _, proxy := range s.flags.proxies {
		if s.flags.HTTPUserHeader != "" && proxy.Addr().IsLoopback() {
			lines = append(lines, "warning: every account of this machine can pass for the proxy at "+proxy.String()+
				", and be any user on the page")
		}
	}
	return door.Guard(s.page), lines, nil
}

// link makes a link that signs a browser in as a key, and says what a person must know of it.
func (s *server) link(key *keys.Key) (link string, notes []string, err error) {
	if s.door == nil {
		remedy := "ask the server's operator for one: refship serve --http 127.0.0.1:9180"
		if s.flags.HTTP != "" {
			remedy = "ask the server's operator to change --http: " + pageRemedy
		}
		return "", nil, fault.New(fault.Refused, "this server shows no page", remedy)
	}
	until := time.Now().Add(session.LinkLife).UTC()
	notes = []string{fmt.Sprintf("good once, until %s UTC, to look at what key %s may read", until.Format(time.TimeOnly),
		key.Name)}
	if session.IsLoopback(s.pageURL.Hostname()) {
		notes = append(notes, fmt.Sprintf("it opens on the server's machine alone; from another one, keep this running, "+
			"with an account there: ssh -N -L %[1]s:%[2]s ACCOUNT@HOST", s.pageURL.Port(), s.pageURL.Host))
	}
	return s.door.Link(key), notes, nil
}
