package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/transparency"
	"refship/deploy/verify"
	"refship/deploy/witness"
)

// wantOnly checks that verify names these keys and no others.
func wantOnly(t *testing.T, what string, v *verified, keys ...string) {
	t.Helper()
	var got []string
	for _, f := range v.findings() {
		got = append(got, f.Key)
	}
	slices.Sort(got)
	slices.Sort(keys)
	if !slices.Equal(got, keys) {
		t.Errorf("%s: found %v, want %v", what, v.findings(), keys)
	}
}

// A foreign deploy that is changed when the log has it is named, and not the log. Nothing else vouches for it.
func TestForeignDeployIsChangedLater(t *testing.T) {
	t.Parallel()
	f := mgmtDeploys(t)
	base, ns := f.held(), string(f.ns)
	payload := ns + "/deploy/3/payload"
	other := base[ns+"/deploy/2/payload"]
	h := maps.Clone(base)
	h[payload] = other
	v := h.verify(t, f.ns)
	wantOnly(t, "another payload", v, payload)
	if d := v.all[3]; d.State() != verify.Damaged || d.Answers[verify.Log] != verify.Fails ||
		!strings.Contains(d.Findings[0].What, "another one than when refship published over this foreign deploy") {
		t.Errorf("%s, %+v", d.State(), d)
	}
	if d := v.all[4]; d.Answers[verify.Log] != verify.Holds {
		t.Errorf("deploy 4: %v", d.Answers)
	}
	// One that came since is not in the log yet.
	f.foreign(7, record.Hash(base[ns+"/deploy/6/hash"]), files{"main.mcl": "seven\n", "metadata.yaml": "main: \"main.mcl\"\n"})
	h = f.held()
	v = h.verify(t, f.ns)
	wantOnly(t, "a new one", v)
	if v.all[7].Answers[verify.Log] != verify.None {
		t.Errorf("deploy 7: %v", v.all[7].Answers)
	}
	h[ns+"/deploy/7/payload"] = other
	wantOnly(t, "a new one that is changed", h.verify(t, f.ns))
}

// flipped changes the last bit of a value.
func flipped(value string) string {
	b := []byte(value)
	b[len(b)-1] ^= 1
	return string(b)
}

// What of log and checkpoint was changed is told from what of the deploys was, as the checkpoint is signed.
func TestLogAndDeploysDiffer(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	base := f.held()
	chain := f.chain()
	log, cp := func(id record.ID) string { return chain.LogKey(id) }, chain.Key("checkpoint")
	older := maps.Clone(base)
	f.relog(older, 2)
	forged := maps.Clone(base)
	f.resign(forged, func(r *record.Record) { r.Reason = "another" })
	relogged := maps.Clone(forged)
	f.relog(relogged, 3)
	for name, c := range map[string]struct {
		from   held
		change func(h held)
		names  []string
	}{
		"a leaf":                  {base, func(h held) { h[log(3)] = flipped(h[log(3)]) }, []string{log(3)}},
		"a node":                  {base, func(h held) { h[log(2)] = flipped(h[log(2)]) }, []string{log(2)}},
		"a missing value":         {base, func(h held) { delete(h, log(2)) }, []string{log(2)}},
		"the last value":          {base, func(h held) { delete(h, log(3)) }, []string{log(3)}},
		"all values":              {base, func(h held) { delete(h, log(1)); delete(h, log(2)); delete(h, log(3)) }, []string{log(1), log(2), log(3)}},
		"no checkpoint":           {base, func(h held) { delete(h, cp) }, []string{cp}},
		"older checkpoint":        {base, func(h held) { h[cp] = older[cp] }, []string{cp}},
		"all of the log":          {base, func(h held) { delete(h, cp); delete(h, log(1)); delete(h, log(2)); delete(h, log(3)) }, nil},
		"another record":          {forged, func(held) {}, []string{chain.DeployKey(3, record.KeyRecord)}},
		"forged, and logged anew": {relogged, func(held) {}, nil},
		"another checkpoint":      {base, func(h held) { h[cp] = relogged[cp] }, []string{cp}},
	} {
		h := maps.Clone(c.from)
		c.change(h)
		wantOnly(t, name, h.verify(t, f.ns), c.names...)
	}
	// What is left of a log whose beginning was broken off means nothing.
	h := maps.Clone(base)
	delete(h, cp)
	delete(h, log(1))
	delete(h, log(2))
	h[log(3)] = "x"
	wantOnly(t, "a log that has not begun", h.verify(t, f.ns))
}

// Unsigned deploys and those that another type of key signs are in the log, above the last checkpoint.
func TestDeploysWithoutCheckpoint(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if f.signer, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	head, err := f.chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.deploy(f.commit("fourth", files{"a": "four"}, head.Hash.OID()))
	h := f.held()
	logged := func(what string, h held, answer verify.Answer, names ...string) {
		t.Helper()
		v, err := runVerify(t.Context(), f.reader(h), func(c *verify.Config) { c.Allowed = nil })
		if err != nil || v.all[4].Answers[verify.Log] != answer {
			t.Fatalf("%s: %v, %v", what, v.all[4].Answers, err)
		}
		wantOnly(t, what, v, names...)
	}
	logged("whole", h, verify.Holds)
	key := f.chain().LogKey(4)
	for name, value := range map[string]string{"changed": h[key][1:] + "x", "short": "x"} {
		bad := maps.Clone(h)
		bad[key] = value
		logged(name, bad, verify.NotChecked, key)
	}
	bad := maps.Clone(h)
	delete(bad, key) // as if it was published by a refship without a log
	logged("gone", bad, verify.None)
	f.signer = fixture.Signer(1)
	head, err = f.chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.deploy(f.commit("fifth", files{"a": "five"}, head.Hash.OID()))
	v, err := runVerify(t.Context(), f.reader(f.held()), func(c *verify.Config) { c.Allowed = nil })
	if err != nil || v.Findings != 0 || v.all[5].Answers[verify.Log] != verify.Holds {
		t.Errorf("%v, %v", v.findings(), err)
	}
}

// What a witness has cosigned that is not the chain's log is named; that it is there at all says that there was one.
func TestCosignaturesAreCompared(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	base := f.held()
	f.cosign(base, 2, "w1", 2)
	f.cosign(base, 3, "w1", 2)
	key := func(size record.ID, name string) string { return witness.CosignatureKey(f.chain().Chain, size, name) }
	cp := f.chain().Key("checkpoint")
	fork := maps.Clone(base)
	f.resign(fork, func(r *record.Record) { r.Reason = "another" })
	f.relog(fork, 3)
	older := maps.Clone(base)
	maps.DeleteFunc(older, func(key, _ string) bool { return strings.Contains(key, "/deploy/3/") })
	older[f.chain().Key("head")] = "2"
	f.relog(older, 2)
	for name, c := range map[string]struct {
		from   held
		change func(h held)
		names  []string
	}{
		"as it was":             {base, func(held) {}, nil},
		"written anew":          {fork, func(held) {}, []string{key(3, "w1")}},
		"an older backup":       {older, func(held) {}, []string{key(3, "w1")}},
		"no note":               {base, func(h held) { h[key(2, "w1")] = "x" }, []string{key(2, "w1")}},
		"another key":           {base, func(h held) { f.cosign(h, 3, "w1", 4) }, []string{key(3, "w1")}},
		"one that is not known": {base, func(h held) { f.cosign(h, 3, "w9", 4) }, nil},
		"another name":          {base, func(h held) { h[key(2, "w2")] = h[key(2, "w1")] }, []string{key(2, "w2")}},
		"another number":        {base, func(h held) { h[key(1, "w1")] = h[key(2, "w1")] }, []string{key(1, "w1")}},
		"a checkpoint":          {base, func(h held) { h[key(3, "w1")] = h[cp] }, []string{key(3, "w1")}},
		"no log": {base, func(h held) {
			delete(h, cp)
			maps.DeleteFunc(h, func(key, _ string) bool { return strings.Contains(key, "/refship/log/") })
		}, []string{key(2, "w1"), key(3, "w1")}},
	} {
		h := maps.Clone(c.from)
		c.change(h)
		wantOnly(t, name, h.verify(t, f.ns), c.names...)
	}
}

// cosign has a witness cosign the log up to a deploy.
func (f *setup) cosign(h held, size record.ID, name string, key byte) {
	f.Helper()
	chain := f.reader(h)
	d, err := chain.Get(f.Context(), size)
	if err != nil {
		f.Fatal(err)
	}
	root, err := transparency.Root(size, chain.LogReader(f.Context()))
	if err != nil {
		f.Fatal(err)
	}
	cp := transparency.Checkpoint{Chain: d.Record.Chain, Size: size, Root: root}
	signed, err := witness.Cosign(cp, name, fixture.Signer(key), time.Unix(1_700_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	h[witness.CosignatureKey(chain, size, name)] = string(signed)
}
