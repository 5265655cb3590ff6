package signed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

// The variables with which git tells hooks of a push certificate (git-receive-pack(1)).
const (
	varOID   = "GIT_PUSH_CERT"
	varNonce = "GIT_PUSH_CERT_NONCE_STATUS"
	varSlop  = "GIT_PUSH_CERT_NONCE_SLOP"
)

// What git says of nonces (git-receive-pack(1), GIT_PUSH_CERT_NONCE_STATUS), of those that may be kept.
const (
	nonceOK   = "OK"
	nonceSlop = "SLOP" // this server's, of a time before; only with a protocol without sessions, such as HTTP
)

// Certificate is a push's certificate, as far as it was not refused.
type Certificate struct {
	OID git.OID
	Signature
	nonce, slop string // git's words
}

// FindCertificate gives the oid of a push's certificate, the zero oid if the push has none, of the variables that git
// sets for hooks.
func FindCertificate(vars map[string]string) (git.OID, error) {
	given := vars[varOID]
	if given == "" {
		return git.OID{}, nil
	}
	oid, err := git.ParseOID(given)
	if err == nil && oid.IsZero() { // git could not write it
		err = fault.Refuse("push again: git push --signed", "git could not store it")
	}
	if err != nil {
		return oid, fmt.Errorf("read push certificate: %w", err)
	}
	return oid, nil
}

// Push is what a certificate has to ask for.
type Push struct {
	User    string // who authenticated; "": another git server knows
	Updates []git.RefUpdate
	Options []string
}

// ReadCertificate judges a push's certificate, whose bytes are data. A bad one is refused.
func (t *Trust) ReadCertificate(
	ctx context.Context, oid git.OID, data []byte, vars map[string]string, push Push,
) (*Certificate, error) {
	refuse := func(format string, args ...any) error {
		return fault.Refuse("push again: git push --signed", "the push certificate "+format, args...)
	}
	if len(data) > git.MaxCertificate {
		return nil, git.CertificateTooLong()
	}
	parsed, err := record.ParseCertificate(data)
	if err != nil {
		return nil, err
	}
	if u := notAsked(parsed, push.Updates); u != nil {
		return nil, refuse("does not ask for %s at %s, which the push does", u.Ref, record.CommitHash(u.New).Short())
	}
	if !slices.Equal(parsed.Options, push.Options) {
		return nil, refuse("has other push options than the push")
	}
	c := &Certificate{OID: oid, nonce: vars[varNonce], slop: vars[varSlop]}
	c.Signature, err = t.judge(ctx, parsed.Signed, parsed.Signature, push.User, time.Now())
	if err != nil {
		return nil, err
	}
	if c.Status == Bad || c.Status == None {
		return nil, refuse("%s", c.Why)
	}
	return c, nil
}

// notAsked gives an update of the push that the certificate does not ask for, nil if there is none.
func notAsked(c *record.Certificate, updates []git.RefUpdate) *git.RefUpdate {
	asked := make(map[record.Update]bool)
	for _, u := range c.Updates {
		asked[u] = true
	}
	for _, u := range updates {
		if !asked[record.Update{Ref: u.Ref, Old: u.Old, New: u.New}] {
			return &u
		}
	}
	return nil
}

// IsKept tells whether the certificate may go with the deploy: it can be no old one that somebody kept.
func (c *Certificate) IsKept() bool { return c.nonce == nonceOK || c.nonce == nonceSlop }

// Words tell the pusher what was found.
func (c *Certificate) Words() string {
	said := "push certificate: "
	switch c.Status {
	case Good:
		said += fmt.Sprintf("good signature of %s, %s", c.By, c.Key)
	default:
		said += "it " + c.Why
	}
	switch c.nonce {
	case nonceOK:
		said += "; nonce good"
	case nonceSlop:
		said += fmt.Sprintf("; nonce good, of %s seconds before", strings.TrimPrefix(c.slop, "-"))
	default:
		said += fmt.Sprintf("; nonce %s, so that it may be an old one, and is not kept", strings.ToLower(c.nonce))
	}
	return text.Printable(said)
}

// lacks says what keeps the certificate from satisfying a requirement, "" if nothing does.
func (c *Certificate) lacks() string {
	switch {
	case c == nil:
		return "this one is not"
	case c.Status != Good:
		return "the certificate " + c.Why
	case c.nonce == nonceSlop:
		return fmt.Sprintf("the certificate's nonce is %s seconds old, more than receive.certNonceSlop allows", c.slop)
	case c.nonce != nonceOK:
		return "the certificate's nonce is not of this push: git calls it " + text.Printable(c.nonce)
	}
	return ""
}
