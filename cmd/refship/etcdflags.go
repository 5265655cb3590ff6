package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"refship/deploy/etcd"
)

// etcdFlags say how to reach an etcd that is not the embedded one; named as etcdctl names them.
type etcdFlags struct {
	Endpoints    []string `group:"etcd" placeholder:"URL" help:"Use this etcd, one or more addresses, instead of the one in the data directory."`
	CACert       string   `group:"etcd" name:"cacert" placeholder:"FILE" help:"Verify the etcd server's certificate with this CA."`
	Cert         string   `group:"etcd" placeholder:"FILE" help:"Client certificate for etcd."`
	Key          string   `group:"etcd" placeholder:"FILE" help:"Key of the client certificate."`
	User         string   `group:"etcd" placeholder:"NAME[:PASSWORD]" help:"User name for etcd."`
	Password     string   `group:"etcd" placeholder:"PASSWORD" help:"Password for etcd; better given in the environment, or in a file."`
	PasswordFile string   `group:"etcd" placeholder:"FILE" help:"A file whose first line is the password for etcd."`

	filed string // the password of PasswordFile, once check has read it
}

func (f *etcdFlags) config(log *slog.Logger) etcd.Config {
	return etcd.Config{
		Endpoints: f.Endpoints, CACert: f.CACert, Cert: f.Cert, Key: f.Key, User: f.User, Password: f.Password + f.filed, Log: log,
	}
}

// check refuses, as usage errors and before anything is done, what etcd.Dial would refuse without dialling.
func (f *etcdFlags) check() error {
	files := f.CACert != "" || f.Cert != "" || f.Key != ""
	if len(f.Endpoints) == 0 {
		if files || f.User != "" || f.Password != "" || f.PasswordFile != "" {
			return usagef("--cacert, --cert, --key, --user, --password and --password-file belong to --endpoints, which is missing")
		}
		return nil
	}
	first := ""
	for i, endpoint := range f.Endpoints {
		scheme, why := endpointScheme(endpoint)
		if i == 0 {
			first = scheme
		}
		switch {
		case why != "":
			return &usageError{
				what:   "--endpoints: " + strconv.Quote(endpoint) + " " + why,
				remedy: "endpoints are HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH",
			}
		case files && scheme == "http":
			return &usageError{
				what:   "TLS files are given, but " + endpoint + " is plain HTTP",
				remedy: "use https://, or leave out --cacert, --cert and --key",
			}
		case scheme != first:
			return &usageError{
				what:   "--endpoints: " + f.Endpoints[0] + " and " + endpoint + " differ in their scheme",
				remedy: "use the same scheme for all of them",
			}
		}
	}
	return f.checkPairs()
}

// checkPairs refuses one without the other.
func (f *etcdFlags) checkPairs() error {
	user, password := f.User, f.Password
	if password == "" && f.PasswordFile == "" {
		user, password, _ = strings.Cut(user, ":")
	}
	if f.PasswordFile != "" {
		if password != "" {
			return usagef("--password and --password-file can't be used together")
		}
		var err error
		if f.filed, err = readPassword(f.PasswordFile); err != nil {
			return err
		}
		password = f.filed
	}
	switch {
	case (f.Cert == "") != (f.Key == ""):
		return usagef("--cert and --key belong together, and only one of them is given")
	case user != "" && password == "":
		return &usageError{
			what:   "--user: there is no password for " + strconv.Quote(user),
			remedy: "give --user NAME:PASSWORD, or --password; better --password-file, or REFSHIP_PASSWORD in the environment",
		}
	case user == "" && password != "":
		return &usageError{what: "there is a password and no user", remedy: "give --user NAME, too"}
	}
	return nil
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

// checkEtcdListen refuses what etcd.Start would refuse: a port that others reach needs TLS with client certificates.
func (c *serveCmd) checkEtcdListen(ctx context.Context) error {
	given := 0
	for _, file := range []string{c.EtcdCertFile, c.EtcdKeyFile, c.EtcdTrustedCAFile} {
		if file != "" {
			given++
		}
	}
	const files = "--etcd-cert-file, --etcd-key-file and --etcd-trusted-ca-file"
	if c.EtcdListen == "" {
		if given > 0 {
			return usagef(files + " belong to --etcd-listen, which is missing")
		}
		return nil
	}
	if err := checkAddress("--etcd-listen", c.EtcdListen); err != nil {
		return err
	}
	switch {
	case given == 1 || given == 2:
		return usagef(files+" belong together, and only %d of them are given", given)
	case given == 0 && !isLoopback(ctx, c.EtcdListen):
		return &usageError{
			what:   "--etcd-listen " + c.EtcdListen + ": etcd needs TLS with client certificates there",
			remedy: "give " + files + ", or listen on a loopback address such as 127.0.0.1:2379",
		}
	}
	return nil
}

// isLoopback tells whether nobody but this machine reaches HOST:PORT. A name that cannot be found now is left to etcd,
// which looks again.
func isLoopback(ctx context.Context, address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return true
	}
	for _, addr := range addrs {
		if !addr.Unmap().IsLoopback() {
			return false
		}
	}
	return true
}
