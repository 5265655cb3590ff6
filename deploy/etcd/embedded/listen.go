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

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
)

// listener is Config.Listen, checked.
type listener struct {
	url url.URL
	tls transport.TLSInfo
}

// CheckListen checks Listen and the files as Start does. Its errors do not name Listen.
func (cfg *Config) CheckListen(ctx context.Context) error {
	_, err := cfg.parseListen(ctx)
	return err
}

// parseListen checks where etcd is to listen beside its socket. A plain port asks for no password, so only loopback
// addresses may be plain.
func (cfg *Config) parseListen(ctx context.Context) (listener, error) {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return listener{}, fault.New(fault.Usage, "not HOST:PORT", "for example 127.0.0.1:2379")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return listener{}, fault.Newf(fault.Usage, "port %q is not a number up to 65535", port)
	}
	addr, err := resolve(ctx, host)
	if err != nil {
		return listener{}, err
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
	case given == 0:
		return listener{}, &fault.Error{
			Kind: fault.Usage, What: "etcd needs TLS with client certificates there",
			Remedy: "give a certificate, its key and a trusted CA file, or listen on a loopback address such as 127.0.0.1:2379",
			Reason: ReasonListenPlain,
		}
	case given < len(files):
		return listener{}, fault.Newf(fault.Usage,
			"certificate, key and trusted CA file belong together, and only %d of them are given", given)
	}
	l.url.Scheme = "https"
	l.tls = transport.TLSInfo{
		CertFile:       cfg.CertFile,
		KeyFile:        cfg.KeyFile,
		TrustedCAFile:  cfg.TrustedCAFile,
		ClientCertAuth: true,
	}
	return l, cfg.checkTLSFiles()
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
func (cfg *Config) checkTLSFiles() error {
	for _, file := range []string{cfg.CertFile, cfg.KeyFile} {
		if err := disk.CheckFile(file, etcd.MaxTLSFile); err != nil {
			return fmt.Errorf("read etcd certificate and key: %w", err)
		}
	}
	if _, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile); err != nil {
		return fmt.Errorf("read etcd certificate %s and key %s: %w", cfg.CertFile, cfg.KeyFile, err)
	}
	return etcd.CheckCA(cfg.TrustedCAFile)
}
