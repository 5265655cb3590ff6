package session

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"refship/deploy/disk"
)

// maxFile bounds a certificate's file with its chain, and a key's, in bytes.
const maxFile = 1 << 20

// Certificate is a server's certificate and key, read anew when one of their files was changed.
type Certificate struct {
	files [2]string // certificate, key
	log   *slog.Logger

	mu   sync.Mutex
	seen [2]os.FileInfo // of the files when they were read last; nil: they could not be looked at
	good *tls.Certificate
}

// LoadCertificate reads both files, in PEM.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{files: [2]string{certFile, keyFile}, log: log}
	c.seen = c.look()
	var err error
	if c.good, err = c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// Config is a TLS server's configuration with this certificate, for HTTP.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
		NextProtos:     []string{"h2", "http/1.1"},
		MinVersion:     tls.VersionTLS12,
	}
}

// current gives the certificate as the files have it. While they are not right, as between the writing of one and the
// other, that is the one before.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	if isSame(now[0], c.seen[0]) && isSame(now[1], c.seen[1]) {
		return c.good
	}
	c.seen = now
	renewed, err := c.read()
	if err != nil {
		c.log.Warn("the certificate was changed, and the one before goes on", "error", err)
		return c.good
	}
	c.log.Info("the certificate was changed", "path", c.files[0], "not_after", renewed.Leaf.NotAfter)
	c.good = renewed
	return renewed
}

func (c *Certificate) look() (infos [2]os.FileInfo) {
	for i, file := range c.files {
		infos[i], _ = os.Stat(file) // read says why
	}
	return infos
}

func isSame(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (c *Certificate) read() (*tls.Certificate, error) {
	var texts [2][]byte
	for i, file := range c.files {
		var err error
		if texts[i], err = disk.ReadFile(file, maxFile); err != nil {
			return nil, fmt.Errorf("read certificate and key: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return nil, fmt.Errorf("read certificate %s and key %s: %w", c.files[0], c.files[1], err)
	}
	return &pair, nil
}
