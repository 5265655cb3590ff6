package verify

import (
	"bytes"
	"context"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/record"
	"refship/deploy/tree"
	"refship/keys"
)

// signature is what was found of one that git made.
type signature struct {
	Answer
	key string // fingerprint of the SSH key that made it; "" if that is not known
	by  string // as Deploy.By
}

// answer writes down what was found.
func (s signature) answer(d *Deploy, check Check) {
	d.Answers[check] = s.Answer
	if s.by != "" {
		d.By[check] = s.by
	}
}

// openPGP begins a signature that gpg made.
const openPGP = "-----BEGIN PGP "

// gitSignature says whether a signature of git's covers what is signed, and whether an allowed signer made it, who
// might sign at these times. The record does not say which signatures its target wanted, so that one which does not
// count is none of the chain's findings.
func (r *run) gitSignature(ctx context.Context, signed, armored []byte, at ...time.Time) (signature, error) {
	switch {
	case armored == nil:
		return signature{Answer: None}, nil
	case bytes.HasPrefix(armored, []byte(openPGP)):
		s := signature{Answer: NotChecked, by: "OpenPGP"}
		if r.cfg.OpenPGP == nil {
			return s, nil
		}
		is, by, err := r.cfg.OpenPGP(ctx, signed, armored)
		if is != NotChecked {
			s.by = by
		}
		s.Answer = is
		return s, err
	case !keys.IsSSH(armored):
		return signature{Answer: NotChecked, by: "X.509"}, nil
	}
	key, err := keys.Verify(keys.GitNamespace, signed, armored)
	if err != nil {
		return signature{Answer: Fails}, nil //nolint:nilerr // that is the answer
	}
	s := signature{Answer: NotChecked, key: ssh.FingerprintSHA256(key), by: "it is not known who may sign"}
	if r.cfg.Allowed == nil {
		return s, nil
	}
	s.Answer = Holds
	for _, at := range at {
		if s.by, err = r.cfg.Allowed.Judge(keys.GitNamespace, s.key, at); err != nil {
			s.Answer, s.by = UnknownKey, s.key
			break
		}
	}
	return s, nil
}

// times are those at which a key must have been allowed that signed a commit or a tag: git asks for the one that this
// says, and its deploy may have come later. A rollback brings nothing new.
func times(d *Deploy, data []byte) []time.Time {
	said, err := tree.SignedAt(data)
	switch {
	case err != nil:
		return []time.Time{d.Record.Time}
	case d.Record.Kind == record.KindRollback:
		return []time.Time{said}
	}
	return []time.Time{said, d.Record.Time}
}

// commitSignature judges the commit's signature.
func (r *run) commitSignature(ctx context.Context, d *Deploy, writing *sync.Mutex) error {
	c, err := r.commits.Commit(d.Hash.OID())
	if err != nil {
		return err
	}
	signed, armored := c.Signed()
	is, err := r.gitSignature(ctx, signed, armored, times(d, signed)...)
	writing.Lock()
	defer writing.Unlock()
	is.answer(d, CommitSignature)
	return err
}
