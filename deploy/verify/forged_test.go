package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
	"refship/deploy/verify"
	"refship/keys"
)

// threeDeploys is a chain that is quickly made; its last deploy has two commits.
func threeDeploys(t testing.TB, content string) *setup {
	f := newSetup(t, namespace)
	first := f.commit("first", files{"a": content, "sub/b": "b"})
	f.deploy(first)
	second := f.commit("second", files{"a": "two"}, first)
	f.deploy(second)
	f.deploy(f.commit("third", files{"a": "three"}, f.commit("between", files{"a": "2"}, second)))
	return f
}

// A chain that a stranger has signed anew holds in all but its signatures.
func TestForgedByAStranger(t *testing.T) {
	t.Parallel()
	f := newSetup(t, namespace)
	f.signer = fixture.Signer(2)
	first := f.commit("first", files{"a": "one"})
	f.deploy(first)
	f.deploy(f.commit("second", files{"a": "two"}, first))
	v := f.held().verify(t, f.ns)
	if v.Deploys[verify.NotTrusted] != 2 || v.Findings != 2 || !strings.HasSuffix(v.First.Key, "/deploy/2/signature") {
		t.Errorf("%v, found %v", v.Deploys, v.findings())
	}
}

// An unsigned head is not trusted; a record above it that is trusted vouches for its bytes, and for no others.
func TestUnsignedHead(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	head, err := f.chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fourth := f.commit("fourth", files{"a": "four"}, head.Hash.OID())
	f.deploy(fourth, unsigned)
	v := f.held().verify(t, f.ns)
	if v.all[4].State() != verify.NotTrusted || v.Findings != 1 || !strings.Contains(v.First.What, "is not signed") {
		t.Errorf("%v, found %v", v.states(), v.findings())
	}
	f.deploy(f.commit("fifth", files{"a": "five"}, fourth))
	wantStates(t, f.held().verify(t, f.ns), verify.Sound, verify.Sound, verify.Sound, verify.Unsigned, verify.Sound)
	h := f.held()
	key := f.chain().DeployKey(4, record.KeyRecord)
	h[key] = strings.Replace(h[key], `"ada"`, `"eve"`, 1)
	if v := h.verify(t, f.ns); v.all[5].State() != verify.Damaged || v.all[4].State() != verify.NotTrusted {
		t.Errorf("%v, found %v", v.states(), v.findings())
	}
}

// A record that a newer refship has written cannot be proved here, and what to do is said.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	h := f.held()
	key := f.chain().DeployKey(3, record.KeyRecord)
	h[key] = strings.Replace(h[key], `"format":1`, `"format":2`, 1)
	v := h.verify(t, f.ns)
	if v.First == nil || v.First.Key != key || !strings.Contains(fault.RemedyOf(v.First.Cause), "use that") {
		t.Errorf("found %v", v.findings())
	}
}

// A chain that was forged with the key itself holds: only what was seen of the true one shows it. So it is with an
// older backup.
func TestForgedWithTheKey(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	before := f.held()
	seen := verify.See(f.ns, before.verify(t, f.ns).Result)
	encoded, err := seen.Encode()
	if err == nil {
		seen, err = verify.ParseSeen(encoded)
	}
	if err != nil || seen.Head != 3 || seen.Record.ID != 3 || seen.Chain == "" {
		t.Fatal(seen, err)
	}
	extends := func(h held) error {
		v := h.verify(t, f.ns)
		if v.Findings != 0 {
			t.Error(v.findings())
		}
		return seen.Check(t.Context(), store.New(h, f.ns), v.Head)
	}
	if err := extends(before); err != nil {
		t.Error(err)
	}
	head, _ := f.chain().Head(t.Context())
	f.deploy(f.commit("fourth", files{"a": "four"}, head.Hash.OID()))
	if err := extends(f.held()); err != nil {
		t.Error(err)
	}
	other := threeDeploys(t, "another")
	fixture.WantFault(t, fault.Corrupt, extends(other.held()), "the record of deploy 3 is another one", "written anew")
	older := maps.Clone(before)
	maps.DeleteFunc(older, func(key, _ string) bool { return strings.Contains(key, "/deploy/3/") })
	older[string(f.ns)+"/refship/head"] = "2"
	if v := older.verify(t, f.ns); v.First == nil || v.First.Key != f.chain().Key("checkpoint") {
		t.Errorf("the newest deploy is gone, and not in the log: %v", v.findings())
	}
	f.relog(older, 2)
	fixture.WantFault(t, fault.Corrupt, extends(older), "the head is deploy 2", "older backup")
	err = seen.Check(t.Context(), store.New(held{}, f.ns), nil)
	fixture.WantFault(t, fault.Corrupt, err, "no deploy is left", "")
	err = seen.Check(t.Context(), store.New(held{}, "/refship/other"), nil)
	fixture.WantFault(t, fault.Usage, err, "what was seen is of /refship/config", "")
	for _, bad := range []string{"", "x", "{}", `{"format":2,"namespace":"/refship/config"}`, strings.Repeat(" ", 1<<20)} {
		if _, err := verify.ParseSeen([]byte(bad)); err == nil {
			t.Errorf("%.20q is read", bad)
		}
	}
}

// Who has the key can sign a record that says something else than what is there: each such lie is found.
func TestRecordsThatLie(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	base := f.held()
	first, err := f.chain().Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(r *record.Record, h held, to record.Hash) {
		r.Hash = to
		h[f.chain().DeployKey(r.ID, record.KeyHash)] = string(to)
	}
	for name, c := range map[string]struct {
		lie   func(r *record.Record, h held)
		check verify.Check
		words string
	}{
		"previous hash": {func(r *record.Record, _ held) { r.PreviousHash = first.Hash }, verify.Chain,
			"its previous hash is"},
		"time": {func(r *record.Record, _ held) { r.Time = time.Unix(1e9, 0).UTC() }, verify.Record,
			"before that of deploy 2"},
		"tree": {func(r *record.Record, _ held) {
			r.Tree, r.TreeSHA256, r.TreeSize = first.Record.Tree, first.Record.TreeSHA256, first.Record.TreeSize
		}, verify.Commit, "has the tree"},
		"tree's sha256": {func(r *record.Record, _ held) { r.TreeSHA256[0] ^= 1 }, verify.Tree, "were deployed"},
		"tree's size":   {func(r *record.Record, _ held) { r.TreeSize++ }, verify.Tree, "were deployed"},
		"path":          {func(r *record.Record, _ held) { r.Path = "sub" }, verify.Commit, "it is missing"},
		"commits":       {func(r *record.Record, _ held) { r.Commits = 7 }, verify.Ancestry, "it brought 7 commits"},
		"an older commit": {func(r *record.Record, h held) {
			hash(r, h, first.Hash)
			r.Tree, r.TreeSHA256, r.TreeSize = first.Record.Tree, first.Record.TreeSHA256, first.Record.TreeSize
			r.Commits = 1
		}, verify.Ancestry, "does not lead back to"},
		"a commit that is not there": {func(r *record.Record, h held) {
			hash(r, h, record.CommitHash(fixture.BlobOID("x")))
		}, verify.Commit, "it is missing"},
		"a tag that is not there": {func(r *record.Record, _ held) { r.Tag.OID = fixture.BlobOID("x").String() }, verify.Tag,
			"it is missing"},
		"a certificate that is not there": {func(r *record.Record, _ held) {
			r.PushCertificate = fixture.BlobOID("x").String()
		}, verify.Certificate, "it is missing"},
		"a certificate without a signature": {func(r *record.Record, h held) {
			r.PushCertificate = fixture.BlobOID("x").String()
			h[f.chain().ObjectKey(fixture.BlobOID("x"))] = "blob 1\x00x"
		}, verify.Certificate, "does not cover it"},
	} {
		h := maps.Clone(base)
		f.resign(h, func(r *record.Record) { c.lie(r, h) })
		v := h.verify(t, f.ns)
		if !slices.ContainsFunc(v.findings(), func(f verify.Finding) bool {
			return f.Deploy == 3 && f.Check == c.check && strings.Contains(f.What, c.words)
		}) {
			t.Errorf("%s: %v", name, v.findings())
		}
	}
}

// resign changes the record of deploy 3 and signs it again.
func (f *setup) resign(h held, change func(r *record.Record)) {
	f.Helper()
	key := f.chain().DeployKey(3, record.KeyRecord)
	r, err := record.Decode([]byte(h[key]))
	if err != nil {
		f.Fatal(err)
	}
	change(r)
	d, err := record.NewDeploy(r, f.signer)
	if err != nil {
		f.Fatal(err)
	}
	h[key], h[f.chain().DeployKey(3, record.KeySignature)] = string(d.RecordBytes), string(d.Signature)
}

// A push certificate that is there, signed, and asks for the deploy holds; one that asks for something else proves
// nothing of it, also with a good signature.
func TestCertificate(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	base, key9 := f.held(), ssh.FingerprintSHA256(fixture.Signer(9).PublicKey())
	zero := strings.Repeat("0", 40)
	for name, c := range map[string]struct {
		header, update string // "": of this deploy
		change         func(r *record.Record)
		is             verify.Answer
		what           string
	}{
		"this":         {is: verify.UnknownKey},
		"the pusher's": {change: func(r *record.Record) { r.Pusher.Key = key9 }, is: verify.Holds},
		"forced": {header: "push-option deploy.force\npush-option deploy.reason=now\n", change: force,
			is: verify.UnknownKey},
		"not forced":     {header: "push-option deploy.reason=now\n", change: force, is: verify.Fails, what: "does not ask for force"},
		"another reason": {header: "push-option deploy.force\n", change: force, is: verify.Fails, what: "ask for that reason"},
		"another ref":    {update: "/x", is: verify.Fails, what: "does not ask for"},
		"another commit": {update: zero + " " + zero + " refs/heads/main", is: verify.Fails, what: "does not ask for"},
		"no update":      {update: "x", is: verify.Fails, what: "is no update of a ref"},
	} {
		h := maps.Clone(base)
		d, err := record.Decode([]byte(h[f.chain().DeployKey(3, record.KeyRecord)]))
		if err != nil {
			t.Fatal(err)
		}
		update := zero + " " + string(d.Hash) + " " + d.Ref + c.update
		if len(c.update) > 2 || c.update == "x" {
			update = c.update
		}
		signed := "certificate version 0.1\npusher ada 1700000000 +0000\n" + c.header + "\n" + update + "\n"
		signature, err := keys.Sign(fixture.Signer(9), "git", []byte(signed))
		if err != nil {
			t.Fatal(err)
		}
		raw := signed + string(signature)
		oid := tree.HashObject(tree.FormatSHA1, "blob", []byte(raw))
		h[f.chain().ObjectKey(oid)] = fmt.Sprintf("blob %d\x00%s", len(raw), raw)
		f.resign(h, func(r *record.Record) {
			if r.PushCertificate = oid.String(); c.change != nil {
				c.change(r)
			}
		})
		f.relog(h, 3)
		v := h.verify(t, f.ns)
		said := slices.ContainsFunc(v.findings(), func(f verify.Finding) bool {
			return f.Check == verify.Certificate && c.what != "" && strings.Contains(f.What, c.what)
		})
		if v.all[3].Answers[verify.Certificate] != c.is || said != (c.what != "") || v.Orphans != 0 && c.change == nil {
			t.Errorf("%s: found %v, answers %v, %d orphans", name, v.findings(), v.all[3].Answers, v.Orphans)
		}
	}
}

func force(r *record.Record) { r.Forced, r.Reason = true, "now" }

// What git signed is told: that an allowed signer did, as git's own commands say; that it is by a key that nobody vouches
// for, or did at that time; that it is of a program that is not known; that it does not hold. The record does not say
// who was to sign, so that none is a finding.
func TestGitSignatures(t *testing.T) {
	t.Parallel()
	f := newSetup(t, namespace)
	first := f.commit("first", files{"a": "one"})
	f.deploy(first)
	tag := f.signedTag("v1", first)
	f.deploy(tag, func(job *deploy.Job) { job.Ref = "refs/tags/v1" })
	signer := filepath.Join(t.TempDir(), "signers")
	line := "ada " + string(ssh.MarshalAuthorizedKey(fixture.Signer(9).PublicKey()))
	if err := os.WriteFile(signer, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	trusts := []string{"-c", "gpg.ssh.allowedSignersFile=" + signer}
	f.repo.Git(append(trusts, "verify-commit", "v1^{commit}")...)
	f.repo.Git(append(trusts, "verify-tag", "v1")...)
	good := f.repo.Git("cat-file", "commit", "v1^{commit}")
	parent := f.repo.OID("rev-parse", "v1^{commit}")
	for _, change := range []func(string) string{
		func(c string) string { return strings.Replace(c, "\nv1", "\nv2", 1) },
		func(c string) string { return strings.ReplaceAll(c, "SSH SIGNATURE", "PGP SIGNATURE") },
		func(c string) string { return strings.ReplaceAll(c, "SSH SIGNATURE", "SIGNED MESSAGE") },
	} {
		raw := change(strings.Replace(good, "\nparent "+first.String(), "\nparent "+parent.String(), 1)) + "\n"
		parent = fixture.OID(f.repo.GitInput(raw, "hash-object", "-t", "commit", "-w", "--stdin"))
		f.deploy(parent)
	}
	now, before, key9 := time.Now(), time.Unix(1_000_000_000, 0), ssh.FingerprintSHA256(fixture.Signer(9).PublicKey())
	for name, c := range map[string]struct {
		signers *keys.AllowedSigners
		is      verify.Answer
		by      string
	}{
		"not allowed":   {allowed(), verify.UnknownKey, key9},
		"allowed":       {committers(&keys.Signer{Namespaces: "git"}), verify.Holds, "ada"},
		"for records":   {committers(&keys.Signer{Namespaces: keys.Namespace}), verify.UnknownKey, key9},
		"no more":       {committers(&keys.Signer{Namespaces: "git", Before: before}), verify.UnknownKey, key9},
		"not yet":       {committers(&keys.Signer{Namespaces: "git", After: now.Add(time.Hour)}), verify.UnknownKey, key9},
		"not yet known": {nil, verify.NotChecked, "it is not known who may sign"},
	} {
		v, err := runVerify(t.Context(), f.reader(f.held()), func(cfg *verify.Config) { cfg.Allowed = c.signers })
		if err != nil {
			t.Fatal(err)
		}
		var got []verify.Answer
		for _, id := range []record.ID{1, 2, 3, 4, 5} {
			got = append(got, v.all[id].Answers[verify.CommitSignature])
		}
		want := []verify.Answer{verify.None, c.is, verify.Fails, verify.NotChecked, verify.NotChecked}
		by := []string{v.all[2].By[verify.CommitSignature], v.all[2].By[verify.Tag], v.all[5].By[verify.CommitSignature]}
		if !slices.Equal(got, want) || v.all[2].Answers[verify.Tag] != c.is || v.Findings != 0 ||
			!slices.Equal(by, []string{c.by, c.by, "X.509"}) {
			t.Errorf("%s: commits %v, want %v; tag %s; by %q; found %v", name, got, want, v.all[2].Answers[verify.Tag], by,
				v.findings())
		}
	}
	for _, is := range []verify.Answer{verify.Holds, verify.Fails} {
		v, err := runVerify(t.Context(), f.reader(f.held()), func(cfg *verify.Config) {
			cfg.OpenPGP = func(_ context.Context, signed, signature []byte) (verify.Answer, string, error) {
				if !strings.HasPrefix(string(signature), "-----BEGIN PGP") || !strings.HasPrefix(string(signed), "tree ") {
					t.Errorf("asked of %q, %q", signed, signature)
				}
				return is, "ada", nil
			}
		})
		if err != nil || v.all[4].Answers[verify.CommitSignature] != is || v.Findings != 0 {
			t.Errorf("OpenPGP %s: %v, %v, %v", is, err, v.all[4].Answers, v.findings())
		}
	}
}

// committers allows the server's key to sign records, and one for git's objects.
func committers(ada *keys.Signer) *keys.AllowedSigners {
	ada.Principals, ada.PublicKey = "ada", fixture.Signer(9).PublicKey()
	both := allowed()
	both.Merge(keys.NewAllowedSigners("the test", ada))
	return both
}

// ssh-keygen finds the same of the signatures of records.
func TestStockSSHKeygenAgrees(t *testing.T) {
	t.Parallel()
	fixture.Need(t, "ssh-keygen")
	f := threeDeploys(t, "one")
	h, dir := f.held(), t.TempDir()
	for name, content := range map[string]string{
		"signers":   "server " + string(ssh.MarshalAuthorizedKey(f.signer.PublicKey())),
		"signature": h[f.chain().DeployKey(2, record.KeySignature)],
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []record.ID{2, 1} {
		text := h[f.chain().DeployKey(id, record.KeyRecord)]
		cmd := exec.CommandContext(t.Context(), "ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "server", "-n",
			keys.Namespace, "-s", "signature")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(text)
		stock := cmd.Run() == nil
		tampered := maps.Clone(h)
		tampered[f.chain().DeployKey(2, record.KeyRecord)] = text
		if ours := tampered.verify(t, f.ns).Findings == 0; ours != stock {
			t.Errorf("verify says %t, ssh-keygen %t", ours, stock)
		}
	}
}

// What mgmt's own command deployed is foreign, read whole, and what is missing of it is named.
func TestGoldenDeploysOfMgmt(t *testing.T) {
	t.Parallel()
	dumps, err := filepath.Glob("../mgmt/testdata/golden/*.json")
	if err != nil || len(dumps) < 5 {
		t.Fatal(dumps, err)
	}
	for _, path := range dumps {
		encoded, err := os.ReadFile(path)
		values := map[string][]byte{}
		if err == nil {
			err = json.Unmarshal(encoded, &values)
		}
		if err != nil {
			t.Fatal(err)
		}
		h := held{}
		for key, value := range values {
			h[key] = string(value)
		}
		v := h.verify(t, record.MgmtNamespace)
		if v.Findings != 0 || len(v.all) == 0 || v.Deploys[verify.Foreign] != len(v.all) {
			t.Errorf("%s: %v, found %v", path, v.Deploys, v.findings())
		}
		for key, value := range h {
			if !strings.Contains(key, "/storage/") || value == "" {
				continue
			}
			less := maps.Clone(h)
			delete(less, key)
			if v := less.verify(t, record.MgmtNamespace); v.First == nil || v.First.Key != key {
				t.Errorf("%s without %s: found %v", path, key, v.findings())
			}
		}
	}
}

// What a push that died left is an orphan, and no finding. What belongs to nothing is one.
func TestStraysAndOrphans(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	base, ns := f.held(), string(f.ns)
	digits := strings.Repeat("ab", 32)
	for _, key := range []string{
		"/storage/{sha256}" + digits, "/storage/{sha256}" + digits + "/0", "/refship/tree/" + digits,
		"/refship/tree/" + digits[:40] + "/3", "/refship/object/" + digits[:40],
	} {
		h := maps.Clone(base)
		h[ns+key] = "x"
		if v := h.verify(t, f.ns); v.Findings != 0 || v.Orphans != 1 {
			t.Errorf("%s: %d orphans, found %v", key, v.Orphans, v.findings())
		}
	}
	for _, key := range []string{
		"/storage/x", "/storage/{sha256}" + digits + "/00", "/storage/{sha256}" + digits + "x", "/refship/tree/x",
		"/refship/object/x", "/refship/x", "/refship/keep/99", "/refship/keep/x", "/deploy/5/record", "/deploy/3/payload",
		"/deploy/3/x", "/deploy/3/record/x", "/deploy/latest", "/deploy/03/hash", "/fs/deploy/1-x", "/x", "/deployx",
		"/refshipx/y", "/zzz", "/refship/\xff\n", "/refship/log/4", "/refship/log/x", "/refship/log/03", "/refship/cosignature/1/x",
	} {
		h := maps.Clone(base)
		h[ns+key] = "x"
		v := h.verify(t, f.ns)
		named := slices.ContainsFunc(v.findings(), func(f verify.Finding) bool {
			return f.Key == ns+key || strings.Contains(f.Key, `\xff\n`)
		})
		if v.Findings != 1 || !named {
			t.Errorf("%s: found %v", key, v.findings())
		}
	}
	for _, key := range []string{
		"/refship/events/0000000000000000001", "/refship/node/a", "/refship/alive/a",
		"/refship/rollout", "/refship/keep/3", "/refship/hold",
	} {
		h := maps.Clone(base)
		h[ns+key] = "x"
		if v := h.verify(t, f.ns); v.Findings != 0 || v.Orphans != 0 {
			t.Errorf("%s: %d orphans, found %v", key, v.Orphans, v.findings())
		}
	}
}

// counting counts how often each key is read, with its value.
type counting struct {
	held
	mutex sync.Mutex
	asked map[string]int
}

func (c *counting) Read(ctx context.Context, at int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	c.mutex.Lock()
	for _, q := range queries {
		if !q.NoValue && !q.Count && q.First == 0 {
			c.asked[q.Key]++
		}
	}
	c.mutex.Unlock()
	found, at, err := c.held.Read(ctx, at, queries)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for i, q := range queries {
		for _, kv := range found[i] {
			if q.First > 0 && !q.NoValue {
				c.asked[kv.Key]++
			}
		}
	}
	return found, at, err
}

// However many deploys have a node, a content or a git object, it is read once.
func TestEachIsReadOnce(t *testing.T) {
	t.Parallel()
	f := tenDeploys(t)
	c := &counting{held: f.held(), asked: map[string]int{}}
	if v, err := runVerify(t.Context(), store.New(c, f.ns)); err != nil || v.Findings != 0 {
		t.Fatal(v.findings(), err)
	}
	read := 0
	for key := range c.held {
		if !strings.Contains(key, "/storage/") && !strings.Contains(key, "/tree/") && !strings.Contains(key, "/object/") {
			continue
		}
		read++
		if c.asked[key] != 1 {
			t.Errorf("%s is read %d times", key, c.asked[key])
		}
	}
	if read < 30 {
		t.Errorf("there are only %d such keys", read)
	}
}

// acting does something before one of the reads.
type acting struct {
	store.Reader
	mutex sync.Mutex
	reads int
	at    int
	act   func()
}

func (a *acting) Read(ctx context.Context, at int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	a.mutex.Lock()
	if a.reads++; a.reads == a.at {
		a.act()
	}
	a.mutex.Unlock()
	return a.Reader.Read(ctx, at, queries)
}

// What is published while a chain is verified, and what gc takes meanwhile, is no finding: before whichever read.
func TestPublishAndCollectMeanwhile(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	old := f.held()
	head, err := f.chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.deploy(f.commit("fourth", files{"a": "four"}, head.Hash.OID()))
	f.collect(1)
	later := f.held()
	for at := 1; ; at++ {
		h := maps.Clone(old)
		a := &acting{Reader: h, at: at}
		a.act = func() {
			clear(h)
			maps.Copy(h, later)
		}
		v, err := runVerify(t.Context(), store.New(a, f.ns))
		if err != nil || v.Findings != 0 {
			t.Errorf("before read %d: found %v, %v", at, v.findings(), err)
		}
		if a.reads < at {
			break
		}
	}
}

// Some deploys are verified as in the whole, and what else is there is not looked at.
func TestSomeDeploys(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	h := f.held()
	h[string(f.ns)+"/x"] = ""
	chain := store.New(h, f.ns)
	v, err := runVerify(t.Context(), chain, func(c *verify.Config) { c.IDs = []record.ID{2, 3} })
	if err != nil || v.Findings != 0 || len(v.all) != 2 || v.all[3].Answers[verify.Ancestry] != verify.Holds {
		t.Errorf("%v, found %v, %v", v.states(), v.findings(), err)
	}
	second, err := f.chain().Get(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	v, err = runVerify(t.Context(), chain, func(c *verify.Config) { c.Since = second.Record.Time })
	if err != nil || v.Findings != 0 || len(v.all) < 2 || v.all[3] == nil {
		t.Errorf("%v, found %v, %v", v.states(), v.findings(), err)
	}
	delete(h, f.chain().DeployKey(1, record.KeyRecord))
	v, err = runVerify(t.Context(), chain, func(c *verify.Config) { c.IDs = []record.ID{1} })
	if err != nil || v.First == nil || v.First.Deploy != 1 {
		t.Errorf("%v, found %v, %v", v.states(), v.findings(), err)
	}
}
