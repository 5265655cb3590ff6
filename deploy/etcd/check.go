package etcd

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Check finds what in c cannot be, without looking at files or dialling. etcd's client would take it for something
// else: a missing port (443), mixed schemes (the first one counts for all), TLS files with http:// (ignored), a user
// without a password (ignored). Errors are of the kind Usage.
func (c Config) Check() error {
	if err := c.checkEndpoints(); err != nil {
		return err
	}
	user, password := c.login()
	switch {
	case (c.Cert == "") != (c.Key == ""):
		return unusable("a client certificate and its key belong together, and only one of them is given",
			advice{"give both, or none of them", ReasonCertificateHalf})
	case user != "" && password == "":
		return unusable(fmt.Sprintf("there is no password for user %q", user),
			advice{"give a password, too", ReasonPasswordMissing})
	case user == "" && password != "":
		return unusable("there is a password and no user", advice{"give the user, too", ReasonUserMissing})
	}
	return nil
}

func (c Config) checkEndpoints() error {
	if len(c.Endpoints) == 0 {
		return unusable("no endpoint is given", advice{"give etcd's HOST:PORT", ReasonEndpointsMissing})
	}
	for _, endpoint := range c.Endpoints { // first: a comma in a password makes two endpoints of one
		if shown := text.Endpoints(endpoint); shown != endpoint {
			return unusable(fmt.Sprintf("endpoint %q has a user or a password in it", shown),
				advice{"user and password are given by themselves", ReasonEndpointUser})
		}
	}
	first := ""
	for i, endpoint := range c.Endpoints {
		scheme, why := endpointScheme(endpoint)
		if i == 0 {
			first = scheme
		}
		switch {
		case why != "":
			return unusable(fmt.Sprintf("endpoint %q %s", endpoint, why),
				advice{remedy: "endpoints are HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH"})
		case scheme == "http" && (c.CACert != "" || c.Cert != "" || c.Key != ""):
			return unusable(fmt.Sprintf("TLS files are given, but %s is plain HTTP", endpoint),
				advice{"use https://, or leave out the TLS files", ReasonTLSFilesUnused})
		case scheme != first:
			return unusable(fmt.Sprintf("the endpoints %s and %s differ in their scheme", c.Endpoints[0], endpoint),
				advice{remedy: "use the same scheme for all of them"})
		}
	}
	return nil
}

func unusable(what string, a advice) error {
	return &fault.Error{Kind: fault.Usage, What: what, Remedy: a.remedy, Reason: a.reason}
}

// login gives user and password: User holds both if Password is empty.
func (c Config) login() (user, password string) {
	if c.Password == "" {
		user, password, _ = strings.Cut(c.User, ":")
		return user, password
	}
	return c.User, c.Password
}

// endpointScheme gives an endpoint's scheme, "" for HOST:PORT alone, or says why it is no endpoint.
func endpointScheme(endpoint string) (scheme, why string) {
	scheme, rest, found := strings.Cut(endpoint, "://")
	if !found {
		scheme, rest = "", endpoint
	}
	switch scheme {
	case "unix":
		if _, err := url.PathUnescape(rest); err != nil || !strings.HasPrefix(rest, "/") {
			return "", "is not the absolute path of a socket"
		}
	case "http", "https", "":
		host, port, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
		if err != nil || host == "" {
			return "", "is not HOST:PORT"
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "", "is not HOST:PORT: a port is a number up to 65535"
		}
	default:
		return "", "has the unknown scheme " + strconv.Quote(scheme)
	}
	return scheme, ""
}
