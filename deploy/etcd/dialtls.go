package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/credentials"

	"refship/deploy/disk"
)

// MaxTLSFile bounds a certificate, key or CA file, in bytes: a system's CAs have some 200 KiB.
const MaxTLSFile = 16 << 20

// clientTLS reads the files. It gives nil if there are none; https:// then means the system's CAs.
func clientTLS(cfg Config) (*tls.Config, error) {
	if cfg.CACert == "" && cfg.Cert == "" && cfg.Key == "" {
		return nil, nil
	}
	if cfg.CACert != "" {
		if err := CheckCA(cfg.CACert); err != nil {
			return nil, err
		}
	}
	for _, file := range []string{cfg.Cert, cfg.Key} {
		if file == "" {
			continue
		}
		if err := disk.CheckFile(file, MaxTLSFile); err != nil {
			return nil, fmt.Errorf("read client certificate and key: %w", err)
		}
	}
	info := transport.TLSInfo{CertFile: cfg.Cert, KeyFile: cfg.Key, TrustedCAFile: cfg.CACert}
	conf, err := info.ClientConfig() // it reads a renewed certificate at the next handshake
	if err != nil {
		return nil, fmt.Errorf("read client certificate %s and key %s: %w", cfg.Cert, cfg.Key, err)
	}
	return conf, nil
}

// renewedTLS reads the CA's file at each handshake, as etcd's settings do with the client's certificate and key.
type renewedTLS struct {
	credentials.TransportCredentials
	cfg Config
}

// ClientHandshake implements credentials.TransportCredentials.
func (r renewedTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (
	net.Conn, credentials.AuthInfo, error,
) {
	conf, err := clientTLS(r.cfg)
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(conf).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (r renewedTLS) Clone() credentials.TransportCredentials {
	return renewedTLS{r.TransportCredentials.Clone(), r.cfg}
}

// tlsRefusal finds out, after a connection has failed, whether the first endpoint refuses the client in the TLS
// handshake. With TLS 1.3 a server refuses a client certificate only after the client's side of the handshake. gRPC
// writes at once, and then reports either the refusal or a broken pipe. Here nothing is written, so the refusal can
// be read.
func tlsRefusal(ctx context.Context, conf clientv3.Config) error {
	scheme, addr, found := strings.Cut(conf.Endpoints[0], "://")
	if !found {
		addr = scheme
	}
	if scheme == "unix" || conf.TLS == nil && scheme != "https" {
		return nil
	}
	config := &tls.Config{}
	if conf.TLS != nil {
		config = conf.TLS.Clone()
	}
	config.NextProtos = []string{"h2"} // then etcd sends first
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", strings.TrimSuffix(addr, "/"))
	if err == nil {
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		_, err = conn.Read(make([]byte, 1))
	}
	var alert tls.AlertError
	var unverified *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &unverified), errors.As(err, &notTLS), errors.As(err, &alert):
		return err
	case errors.As(err, &op) && op.Op == "remote error":
		return err
	}
	return nil
}

// CheckCA refuses a CA file without a certificate in PEM. etcd would take it for an empty list.
func CheckCA(file string) error {
	text, err := disk.ReadFile(file, MaxTLSFile)
	if err != nil {
		return fmt.Errorf("read CA file: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return fmt.Errorf("read CA file %s: no PEM certificate in it", file)
	}
	return nil
}
