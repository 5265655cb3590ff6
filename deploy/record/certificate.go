package record

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Certificate is what `git push --signed` signs: what is to become of which ref (gitprotocol-pack(5), "Push
// Certificate"). Its texts are the pusher's: they may be anything but lines.
type Certificate struct {
	Options           []string // push options
	Updates           []Update
	Signed, Signature []byte // what is signed, and the signature, which may be of any program; nil: there is none
}

// Update is what is to become of a ref; a zero oid: it is not there.
type Update struct {
	Ref      string
	Old, New tree.OID
}

// ParseCertificate reads a push certificate as git receive-pack does (queue_commands_from_cert): a header, an empty
// line, the updates, the signature. The error is a fault.Refused.
func ParseCertificate(data []byte) (*Certificate, error) {
	c := new(Certificate)
	c.Signed, c.Signature = tree.SignedTag(data)
	header, updates, found := bytes.Cut(c.Signed, []byte("\n\n"))
	if !found || !bytes.HasPrefix(header, []byte("certificate version 0.1\n")) {
		return nil, badCertificate("it does not begin as one")
	}
	for line := range strings.Lines(string(header) + "\n") {
		if option, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "push-option "); ok {
			c.Options = append(c.Options, option)
		}
	}
	for line := range strings.Lines(string(updates)) {
		u, err := parseCertified(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		c.Updates = append(c.Updates, u)
	}
	return c, nil
}

func badCertificate(what string) error {
	return fault.Refuse("push again: git push --signed", "the push certificate is not readable: %s", what)
}

func parseCertified(line string) (u Update, err error) {
	from, rest, _ := strings.Cut(line, " ")
	to, ref, _ := strings.Cut(rest, " ")
	bad := badCertificate(fmt.Sprintf("%q is no update of a ref", text.Clip(line)))
	if u.Old, err = tree.ParseOID(strings.ToLower(from)); err != nil {
		return u, bad
	}
	if u.New, err = tree.ParseOID(strings.ToLower(to)); err != nil || ref == "" {
		return u, bad
	}
	u.Ref = ref
	return u, nil
}

// Asks says what of a record's deploy the certificate does not ask for, "" if it asks for all of it: the commit or tag
// for the ref, and to force it for the record's reason.
func (c *Certificate) Asks(r *Record) (lacks string) {
	asked := string(r.Hash)
	if r.Tag.OID != "" {
		asked = r.Tag.OID
	}
	has := func(options ...string) bool {
		return slices.ContainsFunc(options, func(o string) bool { return slices.Contains(c.Options, o) })
	}
	switch {
	case !slices.ContainsFunc(c.Updates, func(u Update) bool { return u.Ref == r.Ref && u.New.String() == asked }):
		return asked + " for " + r.Ref
	case r.Forced && !has("deploy.force", "deploy.force="):
		return "force"
	case r.Reason != "" && !has("deploy.reason="+r.Reason):
		return "that reason"
	}
	return ""
}
