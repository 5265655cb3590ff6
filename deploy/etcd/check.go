package etcd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Check says what of c cannot be, without looking at files or dialling: what etcd's client takes for something else, such
// as a missing port (443), mixed schemes (the first decides for all), TLS files with http:// (ignored), a user without a
// password (ignored). Errors have a method Hint, which names flags.
func (c Config) Check() error {
	if len(c.Endpoints) == 0 {
		return &hinted{err: errors.New("no endpoint is given"), hint: "give --endpoints HOST:PORT"}
	}
	first := ""
	for i, endpoint := range c.Endpoints {
		scheme, why := endpointScheme(endpoint)
		if i == 0 {
			first = scheme
		}
		switch {
		case why != "":
			return &hinted{
				err:  fmt.Errorf("endpoint %q %s", endpoint, why),
				hint: "endpoints are HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH",
			}
		case scheme == "http" && (c.CACert != "" || c.Cert != "" || c.Key != ""):
			return &hinted{
				err:  fmt.Errorf("TLS files are given, but %s is plain HTTP", endpoint),
				hint: "use https://, or leave out --cacert, --cert and --key",
			}
		case scheme != first:
			return &hinted{
				err:  fmt.Errorf("the endpoints %s and %s differ in their scheme", c.Endpoints[0], endpoint),
				hint: "use the same scheme for all of them",
			}
		}
	}
	user, password := c.login()
	switch {
	case (c.Cert == "") != (c.Key == ""):
		return &hinted{err: errors.New("a client certificate and its key belong together, and only one of them is given"), hint: "give both --cert and --key, or none of them"}
	case user != "" && password == "":
		return &hinted{
			err:  fmt.Errorf("there is no password for user %q", user),
			hint: "give --user NAME:PASSWORD, or --password; better --password-file, or REFSHIP_PASSWORD in the environment",
		}
	case user == "" && password != "":
		return &hinted{err: errors.New("there is a password and no user"), hint: "give --user NAME, too"}
	}
	return nil
}

// login gives user and password, wherever they stand.
func (c Config) login() (user, password string) {
	if c.Password == "" {
		user, password, _ = strings.Cut(c.User, ":")
		return user, password
	}
	return c.User, c.Password
}

// endpointScheme gives the scheme of an etcd's address, "" for HOST:PORT alone, or says why it is none.
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
