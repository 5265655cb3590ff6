package deploy

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"refship/deploy/record"
	"refship/keys"
)

// chooseSigner makes the key that signs the deploy the job's, and gives the fingerprint of the one that the record
// announces, "" if it announces none. Where a key is to follow another one, the chain says which it is: the old one
// announces the new one once, and the new one signs from there on.
func (p *Prepared) chooseSigner(ctx context.Context) (next string, err error) {
	if p.job.Rotation == nil {
		return "", nil
	}
	s, err := p.job.Rotation()
	if err != nil {
		return "", fmt.Errorf("load signing key: %w", err)
	}
	if p.job.Signer = s.Now; s.Next == nil {
		return "", nil
	}
	state, err := Rotated(ctx, p.chain.Down, p.Verdict.newest, s)
	if err != nil {
		return "", err
	}
	if !state.Announced {
		return ssh.FingerprintSHA256(s.Next.PublicKey()), nil
	}
	p.job.Signer = s.Next
	return "", nil
}

// Rotation is how far a chain has gone from one signing key to the next.
type Rotation struct {
	By        *record.Deploy // the newest deploy that one of both has signed; nil: none was found
	Announced bool           // it announces the new one, or is signed by it: the new one signs the chain's next deploy
	Moved     bool           // the new one has signed
}

// maxRotated bounds how many deploys are looked at for one that was signed by one of two keys.
const maxRotated = 10_000

// errSigned ends a walk down a chain.
var errSigned = errors.New("found")

// Rotated looks at a chain from a deploy down, which may be nil: it has none. Others may sign it, too.
func Rotated(
	ctx context.Context, down func(context.Context, record.ID, func(*record.Deploy) error) error, from *record.Deploy,
	s keys.Signers,
) (found Rotation, err error) {
	if from == nil {
		return found, nil
	}
	old, next := ssh.FingerprintSHA256(s.Now.PublicKey()), ssh.FingerprintSHA256(s.Next.PublicKey())
	looked := 0
	err = down(ctx, from.ID, func(d *record.Deploy) error {
		switch looked++; {
		case looked > maxRotated:
			return errSigned
		case d.Record == nil || d.Record.Signer != old && d.Record.Signer != next:
			return nil
		}
		found.By, found.Moved = d, d.Record.Signer == next
		found.Announced = found.Moved || d.Record.NextSigner == next
		return errSigned
	})
	if err != nil && !errors.Is(err, errSigned) {
		return found, fmt.Errorf("look for who signed: %w", err)
	}
	return found, nil
}
