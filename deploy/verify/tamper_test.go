package verify_test

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/verify"
)

// provesNothing are keys whose values verify does not look at, as the package documentation says: below NS/refship/.
var provesNothing = regexp.MustCompile(`/refship/(stored|gc|lock|hold|events/.*|keep/.*)$`)

// tampering is something done to one key.
type tampering struct {
	name string
	do   func(h held, key string) (others []string, ok bool) // others were changed, too
}

func tamperings() []tampering {
	set := func(name string, change func(value string) string) tampering {
		return tampering{name, func(h held, key string) ([]string, bool) {
			value := h[key]
			h[key] = change(value)
			return nil, h[key] != value
		}}
	}
	return []tampering{
		set("change", func(v string) string {
			if v == "" {
				return "x"
			}
			b := []byte(v)
			b[len(b)/2] ^= 1
			return string(b)
		}),
		set("append", func(v string) string { return v + "x" }),
		set("truncate", func(v string) string { return v[:len(v)/2] }),
		set("empty", func(string) string { return "" }),
		{"remove", func(h held, key string) ([]string, bool) {
			delete(h, key)
			return nil, true
		}},
		{"swap", func(h held, key string) ([]string, bool) {
			other := neighbour(h, key)
			h[key], h[other] = h[other], h[key]
			return []string{other}, h[key] != h[other]
		}},
		{"replay", func(h held, key string) ([]string, bool) {
			value := h[key]
			h[key] = h[neighbour(h, key)]
			return nil, h[key] != value
		}},
	}
}

var deployPart = regexp.MustCompile(`/deploy/(\d+)/(\w+)$`)

// neighbour is a key with a value of the same kind: of a deploy, that of an older one if there is one.
func neighbour(h held, key string) string {
	kind := func(key string) string {
		if m := deployPart.FindStringSubmatch(key); m != nil {
			return m[2]
		}
		if i := strings.Index(key, "/refship/"); i >= 0 && !strings.HasPrefix(key, "/refship/") {
			key = key[i:]
		}
		return key[:min(len(key), 24)]
	}
	all := slices.DeleteFunc(slices.Sorted(maps.Keys(h)), func(other string) bool {
		return other == key || kind(other) != kind(key) || h[other] == h[key] || provesNothing.MatchString(other)
	})
	if len(all) == 0 {
		all = slices.DeleteFunc(slices.Sorted(maps.Keys(h)), func(other string) bool { return other == key })
	}
	at, _ := slices.BinarySearch(all, key)
	return all[max(0, at-1)]
}

var chunk = regexp.MustCompile(`^(.*/(?:tree/[0-9a-f]{40}|\{sha256\}[0-9a-f]{64}))/\d+$`)

// names tells whether a finding is about a key: it names it, or, of a chunk, the value of which it is one; or it is of
// the deploy that has the key, or of the one above, which names the record.
func names(f verify.Finding, key string) bool {
	if f.Key == key {
		return true
	}
	if m := chunk.FindStringSubmatch(key); m != nil && f.Key == m[1] {
		return true
	}
	m := deployPart.FindStringSubmatch(key)
	if m == nil {
		return false
	}
	id, _ := strconv.ParseUint(m[1], 10, 64)
	return f.Deploy == record.ID(id) || f.Deploy == record.ID(id)+1
}

// saysTheSame tells of values that are not covered byte by byte whether they say the same: mgmt's are gob, in which
// names of types mean nothing; the lines of a signature may break anywhere between its first line and its last.
func saysTheSame(before, after held, key string) bool {
	a, b := []byte(before[key]), []byte(after[key])
	if _, ok := after[key]; !ok { // nothing says that a cosignature should be there
		return strings.Contains(key, "/refship/cosignature/")
	}
	switch {
	case strings.HasSuffix(key, "/payload") && isForeign(key): // the log has its sha256
		return false
	case strings.HasSuffix(key, "/payload"):
		x, err1 := mgmt.DecodePayload(a)
		y, err2 := mgmt.DecodePayload(b)
		return err1 == nil && err2 == nil && x.Same(y) && x.InputURI == y.InputURI
	case strings.Contains(key, "/fs/deploy/"):
		x, err1 := mgmt.DecodeSuperblock(a)
		y, err2 := mgmt.DecodeSuperblock(b)
		return err1 == nil && err2 == nil && mgmt.Same(x, y)
	case strings.HasSuffix(key, "/signature"):
		return withoutBreaks(before[key]) == withoutBreaks(after[key])
	case strings.HasSuffix(key, "/refship/head"):
		x, _ := strconv.ParseUint(string(a), 10, 64)
		y, _ := strconv.ParseUint(string(b), 10, 64)
		return x == y
	}
	return false
}

// withoutBreaks is a signature in one line, and what is not between the first line and the last of one as it is.
func withoutBreaks(signature string) string {
	const first, last = "-----BEGIN SSH SIGNATURE-----\n", "\n-----END SSH SIGNATURE-----\n"
	body, begins := strings.CutPrefix(signature, first)
	body, ends := strings.CutSuffix(body, last)
	if !begins || !ends {
		return signature
	}
	return first + strings.ReplaceAll(body, "\n", "") + last
}

// isForeign tells whether a key is of the foreign deploy of mgmtDeploys.
func isForeign(key string) bool {
	return strings.HasPrefix(key, "/_mgmt/deploy/3/") || isForeignBlock(key)
}

// isForeignBlock tells whether a key is its superblock: nothing vouches for what that says.
func isForeignBlock(key string) bool { return strings.HasPrefix(key, "/_mgmt/fs/deploy/3-") }

// Whatever is done to any one key, verify names the key, or the deploy that it breaks.
func TestEveryKeyIsProved(t *testing.T) {
	t.Parallel()
	for _, chain := range []*setup{tenDeploys(t), mgmtDeploys(t), wideDeploy(t)} {
		base, ns := chain.held(), chain.ns
		head, err := chain.chain().Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []record.ID{1, head.ID} {
			chain.cosign(base, size, "w1", 2)
		}
		sound := base.verify(t, ns)
		if sound.Findings != 0 {
			t.Fatalf("findings before anything was done: %v", sound.findings())
		}
		done := 0
		for _, key := range slices.Sorted(maps.Keys(base)) {
			if provesNothing.MatchString(key) || strings.HasSuffix(key, "/refship/expired") {
				continue
			}
			for _, what := range tamperings() {
				h := maps.Clone(base)
				others, ok := what.do(h, key)
				if !ok {
					continue
				}
				done++
				v := h.verify(t, ns)
				if isForeignBlock(key) && v.Findings == 0 || saysTheSame(base, h, key) {
					continue
				}
				// What leads to a value that is wrong is not there to name all others.
				if !slices.ContainsFunc(v.findings(), func(f verify.Finding) bool {
					return names(f, key) || slices.ContainsFunc(others, func(other string) bool { return names(f, other) })
				}) {
					t.Errorf("%s %s: not named, found %v", what.name, key, v.findings())
				}
			}
		}
		if done < 5*len(base)-40 {
			t.Errorf("%d things were done to %d keys", done, len(base))
		}
		if again := base.verify(t, ns); again.Findings != 0 {
			t.Errorf("findings when all was as before: %v", again.findings())
		}
	}
}

// Of a record and its signature the one is named that was changed; of the head, where no record above says which, both.
func TestRecordOrSignature(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	for id, last := range map[record.ID]bool{1: false, 2: false, 3: true} {
		keys := []string{f.chain().DeployKey(id, record.KeyRecord), f.chain().DeployKey(id, record.KeySignature)}
		for _, key := range keys {
			h := f.held()
			b := []byte(h[key])
			b[len(b)/2] ^= 1
			h[key] = string(b)
			first := h.verify(t, f.ns).First
			if first.Deploy != id || !last && first.Key != key || !strings.Contains(first.What, key) {
				t.Errorf("%s was changed, and is not named: %+v", key, first)
			}
		}
	}
}

// A line break is found anywhere in a signature but between its first line and its last.
func TestBreaksInASignature(t *testing.T) {
	t.Parallel()
	f := threeDeploys(t, "one")
	base, key := f.held(), f.chain().DeployKey(2, record.KeySignature)
	same := 0
	for at := range len(base[key]) + 1 {
		h := maps.Clone(base)
		h[key] = base[key][:at] + "\n" + base[key][at:]
		isSame := saysTheSame(base, h, key)
		if isSame {
			same++
		}
		if v := h.verify(t, f.ns); isSame != (v.Findings == 0) {
			t.Errorf("a break at %d: is the same %t, found %v", at, isSame, v.findings())
		}
	}
	if same < 100 || same > len(base[key])-50 {
		t.Errorf("%d breaks of %d change nothing", same, len(base[key])+1)
	}
}

// What proves nothing changes nothing, whatever it is.
func TestKeysThatProveNothing(t *testing.T) {
	t.Parallel()
	f := tenDeploys(t)
	f.put(string(f.ns)+"/refship/hold", "ops")
	f.put(string(f.ns)+"/refship/events/0000000000000000001", "x")
	base := f.held()
	tampered := 0
	for key := range base {
		if !provesNothing.MatchString(key) {
			continue
		}
		tampered++
		for _, value := range []string{"", "x", "99"} {
			h := maps.Clone(base)
			h[key] = value
			if v := h.verify(t, f.ns); v.Findings != 0 {
				t.Errorf("%s is %q: %v", key, value, v.findings())
			}
		}
	}
	if tampered < 5 {
		t.Errorf("there are only %d such keys", tampered)
	}
}

// What is expired is believed as far as it can be: below the head. Less of it makes what is missing damage.
func TestExpiredIsTampered(t *testing.T) {
	t.Parallel()
	f := tenDeploys(t)
	key := string(f.ns) + "/refship/expired"
	for value, want := range map[string]int{"3": 0, "2": 0, "9": 0, "1": 1, "10": 1, "x": 2, "99999999999999999999": 1} {
		h := f.held()
		h[key] = value
		v := h.verify(t, f.ns)
		if (v.Findings == 0) != (want == 0) {
			t.Errorf("expired is %s: %v", value, v.findings())
		}
	}
	h := f.held()
	delete(h, key)
	if v := h.verify(t, f.ns); v.Findings == 0 || v.all[2].State() != verify.Damaged {
		t.Errorf("expired is gone: %v", v.findings())
	}
}

// Random corruption of a chain is found, or it says the same as before.
func TestRandomCorruption(t *testing.T) {
	t.Parallel()
	chains := []*setup{tenDeploys(t), mgmtDeploys(t)}
	bases := []held{chains[0].held(), chains[1].held()}
	for i := range chains {
		chains[i].cosign(bases[i], 4, "w1", 2)
	}
	rapid.Check(t, func(rt *rapid.T) {
		which := rapid.IntRange(0, 1).Draw(rt, "chain")
		base, ns := bases[which], chains[which].ns
		keys := slices.DeleteFunc(slices.Sorted(maps.Keys(base)), func(key string) bool {
			return provesNothing.MatchString(key) || strings.HasSuffix(key, "/refship/expired") || isForeignBlock(key)
		})
		h := maps.Clone(base)
		var changed []string
		for range rapid.IntRange(1, 3).Draw(rt, "keys") {
			key := rapid.SampledFrom(keys).Draw(rt, "key")
			changed = append(changed, key)
			corrupt(rt, h, key, rapid.SampledFrom(keys).Draw(rt, "other"))
		}
		isSame := !slices.ContainsFunc(keys, func(key string) bool {
			value, ok := h[key]
			return (!ok || value != base[key]) && !saysTheSame(base, h, key)
		})
		v, err := h.try(t.Context(), ns)
		if err != nil {
			rt.Fatalf("%v: %v", changed, err)
		}
		if isSame != (v.Findings == 0) {
			rt.Fatalf("%v: is the same %t, found %v", changed, isSame, v.findings())
		}
	})
}

// corrupt does something at random to a key.
func corrupt(rt *rapid.T, h held, key, other string) {
	b := []byte(h[key])
	at := rapid.IntRange(0, len(b)).Draw(rt, "at")
	switch rapid.IntRange(0, 5).Draw(rt, "how") {
	case 0:
		delete(h, key)
		return
	case 1:
		b = b[:at]
	case 2:
		b = slices.Insert(b, at, rapid.Byte().Draw(rt, "byte"))
	case 3:
		if at < len(b) {
			b[at] = rapid.Byte().Draw(rt, "byte")
		}
	case 4:
		if at < len(b) {
			b = slices.Delete(b, at, at+1)
		}
	case 5:
		b = []byte(h[other])
	}
	h[key] = string(b)
}
