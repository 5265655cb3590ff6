package embedded

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"go.etcd.io/etcd/client/pkg/v3/transport"

	"refship/deploy/etcd"
	"refship/deploy/fault"
)

// listener is Config.Listen, checked.
type listener struct {
	url url.URL
	tls transport.TLSInfo
}

// parseListen checks where etcd is to listen beside its socket. A plain port asks for no password, so only loopback
// addresses may be plain.
func parseListen(ctx context.Context, cfg Config) (listener, error) {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return listener{}, fault.New(fault.Usage,
			fmt.Sprintf("parse etcd listen address %q: not HOST:PORT", cfg.Listen), "for example 127.0.0.1:2379")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return listener{}, fault.Newf(fault.Usage,
			"parse etcd listen address %q: port %q is not a number up to 65535", cfg.Listen, port)
	}
	addr, err := resolve(ctx, host)
	if err != nil {
		return listener{}, fmt.Errorf("parse etcd listen address %q: %w", cfg.Listen, err)
	}
	l := listener{url: url.URL{Scheme: "http", Host: net.JoinHostPort(addr.String(), port)}}
	files := []string{cfg.CertFile, cfg.KeyFile, cfg.TrustedCAFile}
	given := 0
	for _, file := range files {
		if file != "" {
			given++
		}
	}
	switch {
	case given == 0 && addr.IsLoopback():
		return l, nil
	case given < len(files):
		return listener{}, fault.New(fault.Usage,
			fmt.Sprintf("listen on %s: etcd needs TLS with client certificates there", cfg.Listen),
			"give a certificate, its key and a trusted CA file, or listen on a loopback address such as 127.0.0.1:2379")
	}
	l.url.Scheme = "https"
	l.tls = transport.TLSInfo{
		CertFile:       cfg.CertFile,
		KeyFile:        cfg.KeyFile,
		TrustedCAFile:  cfg.TrustedCAFile,
		ClientCertAuth: true,
	}
	return l, checkTLSFiles(cfg)
}

// resolve gives the address to bind. A name is resolved here only, so that etcd binds the address that was checked.
// If a name has several addresses, it counts as loopback only if all of them are. No host means all addresses.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if host == "" {
		return netip.IPv4Unspecified(), nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	first := addrs[0].Unmap()
	for _, addr := range addrs {
		if !addr.Unmap().IsLoopback() {
			return addr.Unmap(), nil
		}
	}
	return first, nil
}

// checkTLSFiles finds early what etcd would find in one of its goroutines.
func checkTLSFiles(cfg Config) error {
	if _, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile); err != nil {
		return fmt.Errorf("read etcd certificate %s and key %s: %w", cfg.CertFile, cfg.KeyFile, err)
	}
	return etcd.CheckCA(cfg.TrustedCAFile)
}
