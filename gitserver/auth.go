package gitserver

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	glssh "github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/text"
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
	c.judged = true
	if _, isCert := pub.(*gossh.Certificate); isCert {
		c.refuse(offer{user: ctx.User(), key: pub, why: pub.Type() + " is a certificate, and those are not supported", remedy: strongRemedy})
		return false
	}
	k, err := s.cfg.Keys.Find(pub)
	o := offer{user: ctx.User(), key: pub}
	var line *keys.LineError
	switch {
	case errors.As(err, &line):
		o.why, o.remedy = line.Error(), "put that line right"
		var hint interface{ Hint() string }
		if errors.As(err, &hint) {
			o.remedy = hint.Hint()
		}
		c.refuse(o)
		return false
	case err != nil:
		s.log.ErrorContext(ctx, "keys cannot be read", "error", err)
		return false
	case k != nil:
		return true
	}
	if _, _, err := keys.ParsePublicKey(gossh.MarshalAuthorizedKey(pub)); err != nil { // no line of the file could have it
		o.why, o.remedy = err.Error(), strongRemedy
	}
	c.refuse(o)
	return false
}

const strongRemedy = "make a new key with ssh-keygen -t ed25519, and use it without a certificate"

// offer is a key that was not accepted.
type offer struct {
	user   string          // the user name that the client gave
	key    gossh.PublicKey // nil if the library has not let us see it
	why    string          // "" if it is not known
	remedy string          // with why
}

func (c *conn) refuse(o offer) {
	if len(c.refused) < maxAuthTries {
		c.refused = append(c.refused, o)
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
		PreAuthConnCallback:     func(login gossh.ServerPreAuthConn) { c.login.Store(&login) },
		AuthLogCallback: func(meta gossh.ConnMetadata, method string, err error) {
			// The library itself refuses keys of algorithms that are not in the list: mayTry does not see those.
			if method == "publickey" && err != nil && !c.judged {
				c.refuse(offer{user: meta.User(), why: err.Error(), remedy: strongRemedy})
			}
			c.judged = false
		},
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
			s.keepAlive(c, ctx)
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
	var line *keys.LineError
	if err != nil && !errors.As(err, &line) {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if k == nil { // a line that became unusable is as good as removed, and where it is concerns the server's people
		return nil, &refusedError{
			what:   fmt.Sprintf("key %s is not known here any more", gossh.FingerprintSHA256(pub)),
			remedy: "ask who runs this server to add it again",
		}
	}
	return k, nil
}

// maxBadLines is how many lines of the keys file that are not usable a log line names.
const maxBadLines = 3

// logRefused tells the operator why somebody could not get in, and how to let them in: the client itself learns
// nothing but "Permission denied (publickey)".
func (s *Server) logRefused(c *conn) {
	log := s.log.With("address", c.RemoteAddr().String())
	if c.late.Load() {
		if more, ok := s.floods.lateLogins.next(); ok {
			log.Info("no login in time", "limit", s.cfg.Limits.LoginGrace, "flag", "--login-grace", "also_late", more)
		}
	}
	for _, o := range c.refused {
		more, ok := s.floods.refusedKeys.next()
		if !ok {
			continue
		}
		log := log.With("user", text.Mention(o.user), "also_refused", more)
		if o.key != nil {
			log = log.With("fingerprint", gossh.FingerprintSHA256(o.key))
		}
		if o.why != "" {
			log.Info("key is refused", "reason", text.Mention(o.why), "remedy", o.remedy)
			continue
		}
		log.Info("key is not known", "unusable_lines", s.unusableLines(),
			"remedy", fmt.Sprintf("echo '%s' | refship key add NAME --key - --allow RULE", bytes.TrimSpace(gossh.MarshalAuthorizedKey(o.key))))
	}
}

// unusableLines names lines of the keys file that give no access: the key may be in one of them.
func (s *Server) unusableLines() []string {
	_, bad, err := s.cfg.Keys.List()
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, l := range bad[:min(len(bad), maxBadLines)] {
		lines = append(lines, l.Error())
	}
	return lines
}
