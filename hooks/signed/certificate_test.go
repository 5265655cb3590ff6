package signed_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/hooks/signed"
	"refship/hooks/target"
	"refship/keys"
)

const (
	none = "0000000000000000000000000000000000000000"
	one  = "1111111111111111111111111111111111111111"
	main = "refs/heads/main"
)

// certificate is a push certificate, signed by a key unless that is nil.
func certificate(t testing.TB, by ssh.Signer, options []string, updates ...string) string {
	t.Helper()
	text := "certificate version 0.1\npusher x 1700000000 +0000\nnonce 1700000000-abc\n"
	for _, o := range options {
		text += "push-option " + o + "\n"
	}
	text += "\n" + strings.Join(updates, "\n") + "\n"
	if by == nil {
		return text
	}
	signature, err := keys.Sign(by, keys.GitNamespace, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + string(signature)
}

func key(name string, signer ssh.Signer) *keys.Key {
	return &keys.Key{Name: name, PublicKey: signer.PublicKey()}
}

// trusts is a Trust with a user ada, whose key is 1, and bob, 2; 3 is allowed to sign for git, 4 only records, and 5 no
// more.
func trusts() *signed.Trust {
	return &signed.Trust{
		Users: func() ([]*keys.Key, error) {
			return []*keys.Key{key("ada", fixture.Signer(1)), key("bob", fixture.Signer(2))}, nil
		},
		Allowed: func() (*keys.AllowedSigners, error) {
			line := func(seed byte, namespaces string, before time.Time) *keys.AllowedSigners {
				return keys.NewAllowedSigners("test", &keys.Signer{Principals: fmt.Sprintf("signer%d", seed),
					Namespaces: namespaces, Before: before, PublicKey: fixture.Signer(seed).PublicKey()})
			}
			all := line(3, "git", time.Time{})
			all.Merge(line(4, "refship", time.Time{}))
			all.Merge(line(5, "*", time.Unix(1_700_000_000, 0)))
			return all, nil
		},
	}
}

// TestReadCertificate: what becomes of a certificate, what its pusher reads, whether it is kept, and whether a target
// that wants one is content.
func TestReadCertificate(t *testing.T) {
	t.Parallel()
	update := none + " " + one + " " + main
	oid := fixture.BlobOID("x")
	options := []string{"deploy.reason=now", "x"}
	for name, c := range map[string]struct {
		by      byte // 0: nobody
		user    string
		updates []string
		options []string
		nonce   string
		bytes   func(string) string
		refused string // or
		words   string
		kept    bool
		lacks   string
	}{
		"own key":     {by: 1, user: "ada", words: "good signature of ada, SHA256:", kept: true},
		"allowed":     {by: 3, user: "ada", words: "good signature of signer3, SHA256:", kept: true},
		"of nobody":   {by: 3, words: "good signature of signer3", kept: true},
		"another's":   {by: 2, user: "ada", words: "it is signed, but SHA256:", kept: true, lacks: "is not an allowed signer"},
		"no user":     {by: 1, words: "it is signed, but SHA256:", kept: true, lacks: "is not an allowed signer"},
		"for records": {by: 4, user: "ada", words: "may not sign in the namespace", kept: true, lacks: "may not sign in"},
		"over":        {by: 5, user: "ada", words: "was allowed only until", kept: true, lacks: "was allowed only until"},
		"slop": {by: 1, user: "ada", nonce: "SLOP", words: "; nonce good, of 35 seconds before", kept: true,
			lacks: "nonce is 35 seconds old, more than receive.certNonceSlop allows"},
		"old nonce": {by: 1, user: "ada", nonce: "BAD", words: "; nonce bad, so that it may be an old one, and is not kept",
			lacks: "git calls it BAD"},
		"no nonce":    {by: 1, user: "ada", nonce: "MISSING", words: "; nonce missing", lacks: "git calls it MISSING"},
		"unsolicited": {by: 1, user: "ada", nonce: "UNSOLICITED", words: "; nonce unsolicited", lacks: "git calls it"},
		"not signed":  {user: "ada", refused: "is not signed"},
		"forged": {by: 1, user: "ada", bytes: func(s string) string { return strings.Replace(s, "pusher x", "pusher y", 1) },
			refused: "has a bad signature"},
		"another ref":  {by: 1, updates: []string{none + " " + one + " refs/heads/x"}, refused: "does not ask for " + main},
		"another oid":  {by: 1, updates: []string{none + " " + none + " " + main}, refused: "does not ask for " + main},
		"another old":  {by: 1, updates: []string{one + " " + one + " " + main}, refused: "does not ask for " + main},
		"more refs":    {by: 1, user: "ada", updates: []string{none + " " + one + " refs/heads/x", update}, kept: true},
		"options":      {by: 1, options: []string{"x"}, refused: "has other push options"},
		"their order":  {by: 1, options: []string{"x", "deploy.reason=now"}, refused: "has other push options"},
		"no update":    {by: 1, updates: []string{"hello"}, refused: `"hello" is no update of a ref`},
		"another text": {by: 1, bytes: func(s string) string { return "x" + s }, refused: "it does not begin as one"},
		"too large": {by: 1, bytes: func(s string) string { return s + strings.Repeat("x", git.MaxCertificate) },
			refused: "has more than 1 MiB"},
		"X.509": {user: "ada", bytes: func(s string) string { return s + "-----BEGIN SIGNED MESSAGE-----\nx\n" },
			words: "it has a signature that cannot be checked here", kept: true, lacks: "cannot be checked here"},
		"OpenPGP": {user: "ada", bytes: func(s string) string { return s + "-----BEGIN PGP SIGNATURE-----\nx\n" },
			words: "it has an OpenPGP signature, which cannot be checked here", kept: true, lacks: "cannot be checked here"},
	} {
		var by ssh.Signer
		if c.by != 0 {
			by = fixture.Signer(c.by)
		}
		if c.updates == nil {
			c.updates = []string{update}
		}
		if c.options == nil {
			c.options = options
		}
		if c.nonce == "" {
			c.nonce = "OK"
		}
		text := certificate(t, by, c.options, c.updates...)
		if c.bytes != nil {
			text = c.bytes(text)
		}
		vars := map[string]string{"GIT_PUSH_CERT_NONCE_STATUS": c.nonce, "GIT_PUSH_CERT_NONCE_SLOP": "35"}
		new, _ := git.ParseOID(one)
		old, _ := git.ParseOID(none)
		got, err := trusts().ReadCertificate(t.Context(), oid, []byte(text), vars, signed.Push{
			User: c.user, Updates: []git.RefUpdate{{Ref: main, Old: old, New: new}}, Options: options,
		})
		if c.refused != "" {
			if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err != nil || !strings.Contains(got.Words(), c.words) || got.IsKept() != c.kept {
			t.Errorf("%s: got %+v, %v", name, got, err)
			continue
		}
		wants := target.Target{Ref: main, RequireSignedPush: true}
		err = signed.CheckPush("config", wants, got)
		if lacks := c.lacks; lacks == "" && err != nil || lacks != "" && (err == nil || !strings.Contains(err.Error(), lacks)) {
			t.Errorf("%s: a target that wants it says %v", name, err)
		}
		if err := signed.CheckPush("config", target.Target{}, got); err != nil {
			t.Errorf("%s: a target that wants none says %v", name, err)
		}
	}
	if err := signed.CheckPush("config", target.Target{RequireSignedPush: true}, nil); err == nil {
		t.Error("a target that wants one takes none")
	}
}

// TestFindCertificate: a certificate that git could not store is told, and not taken for none.
func TestFindCertificate(t *testing.T) {
	t.Parallel()
	for given, fails := range map[string]bool{"": false, one: false, none: true, "x": true} {
		oid, err := signed.FindCertificate(map[string]string{"GIT_PUSH_CERT": given})
		if (err != nil) != fails || err == nil && (given == one) == oid.IsZero() {
			t.Errorf("%q: got %s, %v", given, oid, err)
		}
	}
}

// FuzzReadCertificate: whatever bytes come as a certificate, none is good.
func FuzzReadCertificate(f *testing.F) {
	f.Add([]byte(certificate(f, fixture.Signer(9), nil, none+" "+one+" "+main)))
	f.Add([]byte("certificate version 0.1\n\n-----BEGIN SSH SIGNATURE-----\n\n-----END SSH SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		new, _ := git.ParseOID(one)
		got, err := trusts().ReadCertificate(t.Context(), fixture.BlobOID("x"), data,
			map[string]string{"GIT_PUSH_CERT_NONCE_STATUS": "OK"},
			signed.Push{User: "ada", Updates: []git.RefUpdate{{Ref: main, New: new}}, Options: []string{}})
		if err == nil && got.Status == signed.Good {
			t.Errorf("%q is good", data)
		}
	})
}
