package gitserver

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	glssh "github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"refship/keys"
)

// verifiedKey is where a connection's Permissions.ExtraData has the key that authenticated it.
type verifiedKey struct{}

// connKey is where a connection's context has its *conn.
type connKey struct{}

// maxAuthTries leaves room for users whose agent offers many keys.
const maxAuthTries = 20

var errUnknownKey = errors.New("key is not known")

// mayTry answers whether a client may try to authenticate with a key. Clients ask this for keys that they then do not
// use, and for keys that they do not have: nothing about who the client is may be concluded here.
func (s *Server) mayTry(ctx glssh.Context, pub glssh.PublicKey) bool {
	c := ctx.Value(connKey{}).(*conn)
	if _, isCert := pub.(*gossh.Certificate); isCert {
		return false
	}
	k, err := s.cfg.Keys.Find(pub)
	if err != nil {
		s.log.ErrorContext(ctx, "keys cannot be read", "error", err)
		return false
	}
	if k == nil && len(c.refused) < maxAuthTries {
		c.refused = append(c.refused, offer{user: ctx.User(), key: pub})
	}
	return k != nil
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
		// This is called with a key whose signature over this connection was checked, and only then.
		VerifiedPublicKeyCallback: func(_ gossh.ConnMetadata, pub gossh.PublicKey, _ *gossh.Permissions, _ string) (*gossh.Permissions, error) {
			k, err := s.cfg.Keys.Find(pub)
			if err != nil {
				return nil, err
			}
			if k == nil {
				return nil, errUnknownKey
			}
			c.authenticate()
			return &gossh.Permissions{ExtraData: map[any]any{verifiedKey{}: pub}}, nil
		},
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

// identify looks the session's key up in the file as it is now.
func (s *Server) identify(pub gossh.PublicKey) (*keys.Key, error) {
	k, err := s.cfg.Keys.Find(pub)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if k == nil {
		return nil, &refusedError{
			what:   fmt.Sprintf("key %s is not known here any more", gossh.FingerprintSHA256(pub)),
			remedy: "ask who runs this server to add it again",
		}
	}
	return k, nil
}

// logRefused tells the operator why somebody could not get in, and how to let them in: the client itself learns
// nothing but "Permission denied (publickey)".
func (s *Server) logRefused(c *conn) {
	for _, o := range c.refused {
		line := string(bytes.TrimSpace(gossh.MarshalAuthorizedKey(o.key)))
		s.log.Info("key is not known", "fingerprint", gossh.FingerprintSHA256(o.key), "user", printable(o.user),
			"address", c.RemoteAddr().String(),
			"remedy", fmt.Sprintf("echo '%s' | refship key add NAME --key - --allow RULE", line))
	}
}
