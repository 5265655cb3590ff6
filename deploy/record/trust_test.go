package record_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/keys"
)

// signedBy are deploys of a chain, one a second from a time on, from 1 on: each is signed by one key and may announce
// another one, 0: none.
func signedBy(from time.Time, all ...[2]byte) []*record.Deploy {
	fingerprint := func(seed byte) string {
		if seed == 0 {
			return ""
		}
		return ssh.FingerprintSHA256(fixture.Signer(seed).PublicKey())
	}
	var deploys []*record.Deploy
	for i, by := range all {
		id := record.ID(i + 1)
		deploys = append(deploys, &record.Deploy{ID: id, Record: &record.Record{
			ID: id, Chain: "a", Signer: fingerprint(by[0]), NextSigner: fingerprint(by[1]),
			Time: from.Add(time.Duration(i) * time.Second),
		}})
	}
	return deploys
}

// TestTrust: whose signatures count along a chain in which keys follow each other.
func TestTrust(t *testing.T) {
	t.Parallel()
	from := time.Unix(1_700_000_000, 0)
	second := func(n int) time.Time { return from.Add(time.Duration(n) * time.Second) }
	none := [2]byte{9, 0}
	for name, c := range map[string]struct {
		chain  [][2]byte
		before time.Time // the end of key 1, the one that is allowed
		change func(all []*record.Deploy)
		ok     []bool
	}{
		"one":               {chain: [][2]byte{{1, 0}}, ok: []bool{true}},
		"a stranger":        {chain: [][2]byte{{1, 0}, {2, 0}}, ok: []bool{true, false}},
		"announced":         {chain: [][2]byte{{1, 2}, {2, 0}, {2, 0}}, ok: []bool{true, true, true}},
		"twice":             {chain: [][2]byte{{1, 2}, {2, 3}, {3, 0}}, ok: []bool{true, true, true}},
		"later":             {chain: [][2]byte{{1, 2}, {1, 0}, none, {2, 0}}, ok: []bool{true, true, false, true}},
		"by a stranger":     {chain: [][2]byte{{1, 0}, {8, 2}, {2, 0}}, ok: []bool{true, false, false}},
		"by itself":         {chain: [][2]byte{{1, 0}, {2, 2}, {2, 0}}, ok: []bool{true, false, false}},
		"too early":         {chain: [][2]byte{{2, 0}, {1, 2}, {2, 0}}, ok: []bool{false, true, true}},
		"unsigned":          {chain: [][2]byte{{1, 0}, {0, 2}, {2, 0}}, ok: []bool{true, false, false}},
		"before its end":    {chain: [][2]byte{{1, 2}, {2, 0}}, before: second(1), ok: []bool{true, true}},
		"after its end":     {chain: [][2]byte{{1, 0}, {1, 2}, {2, 0}}, before: second(0), ok: []bool{true, false, false}},
		"end of what comes": {chain: [][2]byte{{1, 2}, {2, 0}, {2, 0}}, before: second(1), ok: []bool{true, true, false}},
		"by a stranger, too": {chain: [][2]byte{{1, 2}, {2, 0}, {8, 2}, {2, 0}, {8, 7}, {7, 8}, {8, 2}, {2, 0}},
			ok: []bool{true, true, false, true, false, false, false, true}},
		"another chain": {chain: [][2]byte{{1, 2}, {2, 0}}, change: func(all []*record.Deploy) { all[0].Record.Chain = "b" },
			ok: []bool{true, false}},
		"foreign between": {chain: [][2]byte{{1, 2}, none, {2, 0}}, change: func(all []*record.Deploy) { all[1].Record = nil },
			ok: []bool{true, false, true}},
	} {
		all := signedBy(from, c.chain...)
		if c.change != nil {
			c.change(all)
		}
		down := func(_ context.Context, id record.ID, fn func(*record.Deploy) error) error {
			for ; id > 0; id-- {
				if err := fn(all[id-1]); err != nil {
					return err
				}
			}
			return nil
		}
		allowed := keys.NewAllowedSigners("test", &keys.Signer{Principals: "server", Namespaces: keys.Namespace,
			Before: c.before, PublicKey: fixture.Signer(1).PublicKey()})
		along := record.NewTrust(allowed, down) // from the newest down, as a log goes
		for i := len(all) - 1; i >= 0; i-- {
			for which, trust := range map[string]*record.Trust{"along": along, "alone": record.NewTrust(allowed, down)} {
				is, err := trust.Signers(t.Context(), all[i])
				if err != nil {
					t.Fatal(err)
				}
				who, err := all[i].Judge(is)
				if (err == nil) != c.ok[i] || err == nil && who != "server" {
					t.Errorf("%s, %s: deploy %d is by %q, %v", name, which, all[i].ID, who, err)
				}
			}
		}
		if _, err := allowed.Judge(keys.Namespace, ssh.FingerprintSHA256(fixture.Signer(2).PublicKey()), second(0)); err == nil {
			t.Errorf("%s: the allowed signers were changed", name)
		}
	}
	broken := errors.New("broken")
	all := signedBy(from, [2]byte{1, 2}, [2]byte{2, 0})
	trust := record.NewTrust(new(keys.AllowedSigners), func(context.Context, record.ID, func(*record.Deploy) error) error {
		return broken
	})
	if _, err := trust.Signers(t.Context(), all[1]); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if is, err := record.NewTrust(nil, nil).Signers(t.Context(), all[1]); is != nil || err != nil {
		t.Errorf("where nothing is known of signers: %v, %v", is, err)
	}
}
