package gitserver

import (
	"fmt"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/keys"
)

// signedPush is what a client sends that pushes by a certificate, and an empty pack: what it names is there.
func signedPush(certificate string) []byte {
	var b strings.Builder
	b.WriteString(pktLine("push-cert\x00report-status agent=test\n"))
	for line := range strings.Lines(certificate) {
		b.WriteString(pktLine(line))
	}
	b.WriteString(pktLine("push-cert-end\n") + "0000")
	return append([]byte(b.String()), new(fixture.Pack).Bytes()...)
}

// certified is a certificate for updates, signed by a user.
func certified(t *testing.T, by *user, header string, updates ...string) string {
	t.Helper()
	text := "certificate version 0.1\npusher x 1700000000 +0000\n" + header + "\n" + strings.Join(updates, "\n") + "\n"
	signature, err := keys.Sign(by.signer, keys.GitNamespace, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + string(signature)
}

// TestCertificateOfAnotherPush: an old certificate that somebody kept is told for one, and no deploy has it as its
// proof.
func TestCertificateOfAnotherPush(t *testing.T) {
	t.Parallel()
	e := start(t, func(s *Server) { s.cfg.NonceSeed = "secret" })
	e.repo("config")
	laptop := e.user("laptop", "force:config")
	work := e.work()
	e.mustGit(laptop, work, "push", e.url("config"), "HEAD:refs/heads/other")
	oid := e.mustGit(nil, work, "rev-parse", "HEAD")
	update := strings.Repeat("0", 40) + " " + oid + " refs/heads/main"
	e.deployed(e.push(laptop, "config", signedPush(certified(t, laptop, "nonce 1700000000-x\n", update))), 1)
	if r := e.head("config").Record; r.PushCertificate != "" {
		t.Errorf("deploy 1 has the certificate %s", r.PushCertificate)
	}
}

// TestHostileCertificates: whatever comes as a certificate, nothing is deployed, and the server goes on.
func TestHostileCertificates(t *testing.T) {
	t.Parallel()
	e := start(t, func(s *Server) { s.cfg.NonceSeed = "secret" })
	e.repo("config")
	laptop := e.user("laptop", "force:config")
	work := e.work()
	e.mustGit(laptop, work, "push", e.url("config"), "HEAD:refs/heads/other")
	oid := e.mustGit(nil, work, "rev-parse", "HEAD")
	update := strings.Repeat("0", 40) + " " + oid + " refs/heads/main"
	good := certified(t, laptop, "nonce 1-x\n", update)
	var many []string
	for i := range 9_000 {
		many = append(many, fmt.Sprintf("%s %s refs/heads/%s%d", strings.Repeat("0", 40), oid, strings.Repeat("x", 60), i))
	}
	for name, c := range map[string]string{
		"empty":            "",
		"no signature":     good[:strings.Index(good, "-----BEGIN")],
		"changed":          strings.Replace(good, "pusher x", "pusher y", 1),
		"two armors":       good + "-----BEGIN PGP SIGNATURE-----\n",
		"half":             good[:len(good)-60],
		"two signatures":   good + good[strings.Index(good, "-----BEGIN"):],
		"a NUL":            strings.Replace(good, "pusher x", "pusher \x00", 1),
		"an option":        certified(t, laptop, "nonce 1-x\npush-option deploy.force\n", update),
		"a long header":    certified(t, laptop, strings.Repeat("x "+strings.Repeat("y", 4_000)+"\n", 900), update),
		"a large list":     certified(t, laptop, "nonce 1-x\n", append(many, update)...),
		"no update":        certified(t, laptop, "nonce 1-x\n"),
		"no update at all": certified(t, laptop, "nonce 1-x\n", "hello"),
		"a symbolic name":  certified(t, laptop, "nonce 1-x\n", strings.Replace(update, "refs/heads/main", "../../x", 1)),
	} {
		e.push(laptop, "config", signedPush(c))
		if d := e.head("config"); d != nil {
			t.Fatalf("%s: deployed", name)
		}
		if out := e.mustGit(laptop, work, "ls-remote", e.url("config"), "refs/heads/main"); out != "" {
			t.Fatalf("%s: main is %s", name, out)
		}
	}
	if err := e.failure(); fault.Is(err, fault.Unavailable) {
		t.Errorf("the server is in trouble: %v", err)
	}
	e.deployed(e.git(laptop, work, "push", e.url("config"), "HEAD:refs/heads/main"), 1)
}
