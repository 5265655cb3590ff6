package record

import (
	"context"
	"errors"
	"fmt"

	"refship/keys"
)

// maxFollowed bounds how many deploys below one are looked at for who announced its signer.
const maxFollowed = 10_000

// Trust says whose signatures count along one chain: the allowed signers', and those of the keys that they have
// announced there (next_signer). It belongs to one goroutine at a time.
type Trust struct {
	allowed *keys.AllowedSigners
	down    func(ctx context.Context, id ID, fn func(*Deploy) error) error
	asked   map[string]bool // signers that no known deploy has announced
}

// NewTrust makes the Trust of a chain, whose deploys from an id down are told by down. allowed may be nil: it is not
// known whose signatures count.
func NewTrust(
	allowed *keys.AllowedSigners, down func(ctx context.Context, id ID, fn func(*Deploy) error) error,
) *Trust {
	return &Trust{allowed: allowed, down: down, asked: map[string]bool{}}
}

// errFound ends a walk down a chain.
var errFound = errors.New("found")

// Signers gives whose signatures count, as far as deploys need it, which may be nil: a key counts, too, if an allowed
// one announced it in a deploy of the same chain below. It counts for as long as the other one does: who has a key that
// has ended cannot announce one that has not.
func (t *Trust) Signers(ctx context.Context, deploys ...*Deploy) (*keys.AllowedSigners, error) {
	for _, d := range deploys {
		if t.allowed == nil || d == nil || d.Record == nil || t.knows(d.Record.Signer) {
			continue
		}
		if err := t.follow(ctx, d); err != nil {
			return nil, err
		}
	}
	return t.allowed, nil
}

// knows tells whether nothing is to be found out of a signer.
func (t *Trust) knows(signer string) bool {
	return signer == "" || t.asked[signer] || t.allowed.Knows(signer)
}

// announcement is a deploy that names the key that signs those after it.
type announcement struct {
	next string
	by   *Deploy
}

// follow goes down a chain from announcement to announcement, until one is by an allowed signer. A key may have been
// announced by several: a stranger's announcement is none, and keeps none below from being found.
func (t *Trust) follow(ctx context.Context, d *Deploy) error {
	wanted, looked := map[string]bool{d.Record.Signer: true}, 0
	var all []announcement
	err := t.down(ctx, d.ID-1, func(below *Deploy) error {
		if looked++; looked > maxFollowed {
			return errFound
		}
		r := below.Record
		if r == nil || r.Chain != d.Record.Chain || !wanted[r.NextSigner] || r.Signer == "" {
			return nil
		}
		all = append(all, announcement{r.NextSigner, below})
		wanted[r.Signer] = true
		if _, err := t.allowed.Judge(keys.Namespace, r.Signer, r.Time); err != nil {
			return nil //nolint:nilerr // it may be announced further down
		}
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	t.asked[d.Record.Signer] = true
	for i := len(all) - 1; i >= 0; i-- {
		a := all[i]
		r := a.by.Record
		t.allowed = t.allowed.Following(r.Signer, a.next, r.Time, fmt.Sprintf("announced by deploy %d", a.by.ID))
	}
	return nil
}
