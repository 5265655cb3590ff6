package gitserver

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"

	glssh "github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/conns"
	"refship/keys"
)

// verifiedKey is where a connection's Permissions.ExtraData has the key that authenticated it.
type verifiedKey struct{}

// connKey is where a connection's context has its *conn.
type connKey struct{}

// conn is a client's connection, and why it could not log in.
type conn struct {
	*conns.Conn

	// Used by the handshake's goroutine only:
	refused []refusedKey
	asked   bool  // mayAuthenticate was asked about the key that is being offered
	failed  error // that ended the handshake

	// Written by the handshake's goroutine, which reads the first line itself:
	version []byte // the client's: its first line, or the beginning of it
	named   bool   // version has all of that line
}

// maxVersion is how much of a client's first line is kept, in bytes: as much as SSH allows (RFC 4253, section 4.2).
const maxVersion = 255

// Read keeps the client's version, of which the library tells only when the login has begun.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.named {
		line, _, ended := bytes.Cut(p[:max(n, 0)], []byte("\n"))
		c.version = append(c.version, line[:min(len(line), maxVersion-len(c.version))]...)
		c.named = ended || len(c.version) == maxVersion
	}
	return n, err
}

// clientAddr is a connection's address for the library, which hands nothing else of the connection to some callbacks.
type clientAddr struct {
	net.Addr
	of *conn
}

// RemoteAddr is the client's address; connOf knows it.
func (c *conn) RemoteAddr() net.Addr { return clientAddr{c.Conn.RemoteAddr(), c} }

// connOf gives the connection that is inside one of the library's.
func connOf(nc net.Conn) *conn { return nc.RemoteAddr().(clientAddr).of }

// maxAuthTries leaves room for users whose agent offers many keys.
const maxAuthTries = 20

var errUnknownKey = errors.New("key is not known")

// mayAuthenticate answers whether a client may try to authenticate with a key. Clients ask this for keys that they
// then do not use, and for keys that they do not have: it says nothing about who the client is.
func (s *Server) mayAuthenticate(ctx glssh.Context, pub glssh.PublicKey) bool {
	c := ctx.Value(connKey{}).(*conn)
	c.asked = true
	refuse := func(why error) bool {
		c.refuse(refusedKey{user: ctx.User(), key: pub, why: why})
		return false
	}
	if _, isCertificate := pub.(*gossh.Certificate); isCertificate {
		return refuse(unusableKeyError(pub.Type() + " is a certificate, and those are not supported"))
	}
	key, err := s.cfg.Keys.Find(pub)
	switch {
	case errors.Is(err, keys.ErrLine):
		return refuse(err)
	case err != nil:
		s.log.ErrorContext(ctx, "keys cannot be read", "error", err)
		return false
	case key != nil:
		return true
	}
	// A key that no line of the file could have is refused for what it is.
	if _, _, err := keys.ParsePublicKey(gossh.MarshalAuthorizedKey(pub)); err != nil {
		return refuse(unusableKeyError(err.Error()))
	}
	return refuse(errUnknownKey)
}

func unusableKeyError(why string) error {
	return fault.New(fault.Refused, why, "make a new key with ssh-keygen -t ed25519, and use it without a certificate")
}

// refusedKey is a key that a client offered and that was not accepted.
type refusedKey struct {
	user string          // the user name that the client gave
	key  gossh.PublicKey // nil if the library did not show it
	why  error
}

func (c *conn) refuse(r refusedKey) {
	if len(c.refused) < maxAuthTries {
		c.refused = append(c.refused, r)
	}
}

// serverConfig is the SSH configuration of one connection: public keys only, no algorithm that is known to be weak.
func (s *Server) serverConfig(ctx glssh.Context) *gossh.ServerConfig {
	c := ctx.Value(connKey{}).(*conn)
	algorithms := gossh.SupportedAlgorithms()
	return &gossh.ServerConfig{
		Config: gossh.Config{
			KeyExchanges: algorithms.KeyExchanges,
			Ciphers:      algorithms.Ciphers,
			MACs:         slices.DeleteFunc(algorithms.MACs, func(m string) bool { return m == gossh.HMACSHA1 }),
		},
		PublicKeyAuthAlgorithms: algorithms.PublicKeyAuths,
		MaxAuthTries:            maxAuthTries,
		PreAuthConnCallback:     c.SetLogin,
		AuthLogCallback: func(meta gossh.ConnMetadata, method string, err error) {
			// The library itself refuses keys of algorithms that are not in the list: mayAuthenticate is not asked
			// then.
			if method == "publickey" && err != nil && !c.asked {
				c.refuse(refusedKey{user: meta.User(), why: unusableKeyError(err.Error())})
			}
			c.asked = false
		},
		// This is called with a key whose signature over this connection was checked, and only then.
		VerifiedPublicKeyCallback: func(
			_ gossh.ConnMetadata, pub gossh.PublicKey, _ *gossh.Permissions, _ string,
		) (*gossh.Permissions, error) {
			key, err := s.cfg.Keys.Find(pub)
			if err != nil {
				return nil, err
			}
			if key == nil {
				return nil, errUnknownKey
			}
			if !c.SetAuthenticated(func() { askClient(ctx) }) {
				return nil, net.ErrClosed
			}
			return &gossh.Permissions{ExtraData: map[any]any{verifiedKey{}: pub}}, nil
		},
	}
}

const keepAliveRequest = "keepalive@openssh.com"

// askClient asks a client whether it is there. Any answer counts as input, even a refusal.
func askClient(ctx glssh.Context) {
	if sc, ok := ctx.Value(glssh.ContextKeyConn).(*gossh.ServerConn); ok {
		_, _, _ = sc.SendRequest(keepAliveRequest, true, nil)
	}
}

// authenticatedBy is the key that authenticated a connection.
func authenticatedBy(conn *gossh.ServerConn) (gossh.PublicKey, error) {
	if conn.Permissions != nil {
		if pub, ok := conn.Permissions.ExtraData[verifiedKey{}].(gossh.PublicKey); ok {
			return pub, nil
		}
	}
	return nil, errors.New("connection has no verified key")
}

// maxUnusableLines is how many unusable lines of the keys file a log line names.
const maxUnusableLines = 3

// logFailed tells the operator why a client could not log in, and what to do: the client itself learns nothing but
// "Permission denied (publickey)".
func (s *Server) logFailed(c *conn) {
	s.logHandshake(c)
	log := s.log.With("address", c.RemoteAddr().String())
	if c.IsLate() {
		if more, ok := s.floods.lateLogins.Next(); ok {
			log.Info("no login in time",
				"limit", s.cfg.Limits.LoginGrace, "remedy", s.words(ReasonLoginGrace), "also_late", more)
		}
	}
	for _, r := range c.refused {
		more, ok := s.floods.refusedKeys.Next()
		if !ok {
			continue
		}
		log := log.With("user", text.Mention(r.user), "also_refused", more)
		if r.key != nil {
			log = log.With("fingerprint", gossh.FingerprintSHA256(r.key))
		}
		if errors.Is(r.why, errUnknownKey) {
			line := string(bytes.TrimSpace(gossh.MarshalAuthorizedKey(r.key)))
			log.Info("key is not known", "unusable_lines", s.unusableLines(), "remedy", s.words(ReasonKeyUnknown, line))
			continue
		}
		log.Info("key is refused", "reason", text.Mention(r.why.Error()),
			"remedy", cmp.Or(s.cfg.Remedy(r.why), "correct that line"))
	}
}

// logHandshake logs why a handshake failed that no other line of the log tells of. A client that has sent nothing, such
// as a probe of the port, is nothing to tell of.
func (s *Server) logHandshake(c *conn) {
	if c.failed == nil || len(c.version) == 0 || len(c.refused) > 0 || c.IsLate() || c.IsDropped() ||
		s.stopping.Err() != nil {
		return
	}
	why := c.failed.Error()
	if errors.Is(c.failed, io.EOF) || errors.Is(c.failed, syscall.ECONNRESET) {
		why = "the client closed the connection"
	}
	if more, ok := s.floods.handshakes.Next(); ok {
		s.log.Info("handshake failed", "address", c.RemoteAddr().String(),
			"client", text.Printable(string(bytes.TrimRight(c.version, "\r"))),
			"reason", text.Printable(text.Shorten(why, maxReason)), "also_failed", more)
	}
}

// maxReason is how much of the reason of a failed handshake is logged, in bytes: it holds lists of what the client
// offers.
const maxReason = 1000

// unusableLines names lines of the keys file that give no access: the key may be in one of them.
func (s *Server) unusableLines() []string {
	_, unusable, err := s.cfg.Keys.List()
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, l := range unusable[:min(len(unusable), maxUnusableLines)] {
		lines = append(lines, l.Error())
	}
	return lines
}
