package mgmt_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
)

func drawPayload(t *rapid.T) *mgmt.Payload {
	p := &mgmt.Payload{
		Frontend: rapid.SampledFrom([]string{mgmt.Lang, mgmt.YAML, mgmt.Puppet, mgmt.Empty}).Draw(t, "frontend"),
		Settings: mgmt.Settings{
			Noop: rapid.Bool().Draw(t, "noop"), Sema: rapid.IntRange(-1, 1<<40).Draw(t, "sema"),
			NoAutoEdges: rapid.Bool().Draw(t, "edges"), NoAutoGroup: rapid.Bool().Draw(t, "group"),
		},
	}
	word := rapid.SampledFrom([]string{"", "fast-solver", "a,b"})
	switch p.Frontend {
	case mgmt.Puppet:
		p.Mode = "file"
	case mgmt.Lang:
		p.UnifyName, p.UnifyOptimizations = word.Draw(t, "name"), word.Draw(t, "optimizations")
		if other := word.Draw(t, "other"); other != "" {
			p.Strategy = map[string]string{"other": other}
		}
	}
	if p.Frontend != mgmt.Empty {
		p.InputURI = mgmt.InputURI(mgmt.SuperblockPath(3, uuid))
	}
	return p
}

// TestPayload reads what is encoded back, with our own reader and with the strict one, which has types of its own.
func TestPayload(t *testing.T) {
	block, err := mgmt.EncodeSuperblock(&mgmt.File{Mode: 1 << 31, Children: []*mgmt.File{
		{Name: "metadata.yaml", Mode: 0o644, SHA256: sum("")},
		{Name: "main.mcl", Mode: 0o644, SHA256: sum("")},
		{Name: "start.yaml", Mode: 0o644, SHA256: sum("")},
		{Name: "file.pp", Mode: 0o644, SHA256: sum("")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		p := drawPayload(t)
		value, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := mgmt.DecodePayload(value)
		if diff := cmp.Diff(p, got); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
		d, err := mgmttest.Read(map[string][]byte{"/deploy/3/payload": value, mgmt.SuperblockPath(3, uuid): block})
		if err != nil {
			t.Fatal(err)
		}
		read := &mgmt.Payload{Frontend: d.Name, Mode: d.Mode, InputURI: d.InputURI, Settings: mgmt.Settings{
			Noop: d.Noop, Sema: d.Sema, NoAutoEdges: d.NoAutoEdges, NoAutoGroup: d.NoAutoGroup,
			UnifyName: d.Strategy["name"], UnifyOptimizations: d.Strategy["optimizations"],
		}}
		if other, ok := d.Strategy["other"]; ok {
			read.Strategy = map[string]string{"other": other}
		}
		if diff := cmp.Diff(p, read); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestPayloadEncodeRefuses(t *testing.T) {
	uri := mgmt.InputURI(mgmt.SuperblockPath(1, uuid))
	for _, c := range []struct {
		p    mgmt.Payload
		what string
	}{
		{mgmt.Payload{Frontend: mgmt.Lang}, `input ""`},
		{mgmt.Payload{Frontend: mgmt.YAML, InputURI: "etcdfs://fs/deploy/1-x"}, "does not begin with"},
		{mgmt.Payload{Frontend: mgmt.Empty, InputURI: uri}, "empty with input"},
		{mgmt.Payload{Frontend: mgmt.Auto, InputURI: uri}, `frontend "auto"`},
		{mgmt.Payload{Frontend: mgmt.Puppet, InputURI: uri}, `frontend "puppet" with mode ""`},
		{mgmt.Payload{Frontend: mgmt.Puppet, InputURI: uri, Mode: "files"}, `frontend "puppet" with mode "files"`},
		{mgmt.Payload{Frontend: mgmt.Puppet, Mode: "agent"}, `input ""`},
		{mgmt.Payload{Frontend: mgmt.Lang, InputURI: uri, Mode: "file"}, `frontend "lang" with mode "file"`},
		{mgmt.Payload{Frontend: mgmt.YAML, InputURI: uri, Settings: mgmt.Settings{UnifyName: "x"}}, "UnificationStrategy"},
		{mgmt.Payload{Frontend: "langpuppet", InputURI: uri}, `frontend "langpuppet"`},
		{mgmt.Payload{}, `frontend ""`},
		{mgmt.Payload{Frontend: mgmt.Lang, InputURI: uri + strings.Repeat("x", 64<<10)}, "(limit "},
	} {
		if _, err := c.p.Encode(); err == nil || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%.60v: got error %v, want %q", c.p, err, c.what)
		}
	}
}

// encoded is base64 of gob.
func encoded(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.AppendEncode(nil, b.Bytes())
}

func TestPayloadDecodeRefuses(t *testing.T) {
	good, err := (&mgmt.Payload{Frontend: mgmt.Lang, InputURI: mgmt.InputURI(mgmt.SuperblockPath(1, uuid))}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(good))
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) []byte {
		if len(old) != len(new) || bytes.Count(raw, []byte(old)) != 1 {
			t.Fatalf("%q is not once in the payload", old)
		}
		return base64.StdEncoding.AppendEncode(nil, bytes.Replace(raw, []byte(old), []byte(new), 1))
	}
	for name, c := range map[string]struct {
		value []byte
		what  string
	}{
		"nothing":           {nil, "EOF"},
		"not base64":        {[]byte("?"), "illegal base64"},
		"line feed":         {append(bytes.Clone(good), '\n'), "more than one line"},
		"two lines":         {bytes.Join([][]byte{good[:40], good[40:]}, []byte("\r\n")), "more than one line"},
		"cut off":           {good[:len(good)-8], "EOF"},
		"more behind":       {base64.StdEncoding.AppendEncode(nil, append(bytes.Clone(raw), 0)), "after its end"},
		"too long":          {bytes.Repeat([]byte("A"), 1<<20), "(limit "},
		"not gob":           {base64.StdEncoding.AppendEncode(nil, []byte("hello")), "decode payload"},
		"no frontend known": {swap("*gapi.GAPI", "*pupp.GAPI"), "not registered"},
		"another name":      {swap("\x04lang", "\x04yaml"), `called "yaml" and holds frontend lang`},
		"another scheme":    {swap("etcdfs:///fs/", "etcdfs://x/fs"), "does not begin with"},
		"no frontend":       {encoded(t, struct{ Name string }{"lang"}), "no frontend in it"},
		"another structure": {encoded(t, []string{"lang"}), "decode payload"},
	} {
		if p, err := mgmt.DecodePayload(c.value); err == nil || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: got %+v, error %v; want %q", name, p, err, c.what)
		}
	}
}

// TestPayloadWithoutStrategy: mgmt does not run lang without the map. The strict reader says it in mgmt's words.
// Taken is a dump, because there the types' numbers are known: two bytes less are field and length of the empty map,
// and two lengths count them.
func TestPayloadWithoutStrategy(t *testing.T) {
	_, value := one(t, golden(t, "lang"), "/deploy/1/", "payload")
	raw, err := base64.StdEncoding.DecodeString(string(value))
	if err != nil {
		t.Fatal(err)
	}
	head, tail, ok := bytes.Cut(raw, []byte("\x45\xff\x8a\x41"))
	tail, ok2 := bytes.CutSuffix(tail, []byte{1, 1, 0, 0, 0, 0})
	if !ok || !ok2 {
		t.Fatalf("the dump is another: % x", raw)
	}
	joined := bytes.Join([][]byte{head, []byte("\x43\xff\x8a\x3f"), tail, {1, 0, 0, 0}}, nil)
	without := base64.StdEncoding.AppendEncode(nil, joined)
	_, err = mgmt.DecodePayload(without)
	if err == nil || !strings.Contains(err.Error(), "without a UnificationStrategy") {
		t.Errorf("got error %v", err)
	}
	_, err = mgmttest.Read(map[string][]byte{"/deploy/1/payload": without})
	if err == nil || !strings.Contains(err.Error(), "not built properly") {
		t.Errorf("the strict reader got error %v", err)
	}
}

// TestPayloadAtOnce: registering with gob is safe from many goroutines, and again.
func TestPayloadAtOnce(t *testing.T) {
	_, value := one(t, golden(t, "lang"), "/deploy/1/", "payload")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := mgmt.DecodePayload(value); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestPayloadEveryByte: whatever becomes of a byte, there is an error or a payload that can be encoded again.
func TestPayloadEveryByte(t *testing.T) {
	_, value := one(t, golden(t, "lang-dir"), "/deploy/1/", "payload")
	raw, err := base64.StdEncoding.DecodeString(string(value))
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	for i := range raw {
		for _, b := range []byte{0, raw[i] ^ 1, raw[i] ^ 0x80, 0xff, raw[i] + 1} {
			if b == raw[i] {
				continue
			}
			damaged := bytes.Clone(raw)
			damaged[i] = b
			p, err := mgmt.DecodePayload(base64.StdEncoding.AppendEncode(nil, damaged))
			if err != nil {
				refusals++
				continue
			}
			if _, err := p.Encode(); err != nil {
				t.Fatalf("byte %d as %#x: decoded as %+v: %v", i, b, p, err)
			}
		}
	}
	if refusals == 0 {
		t.Error("nothing was refused")
	}
}

func FuzzDecodePayload(f *testing.F) {
	for _, g := range goldens {
		_, value := one(f, golden(f, g.name), "/deploy/1/", "payload")
		raw, _ := base64.StdEncoding.DecodeString(string(value))
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := mgmt.DecodePayload(base64.StdEncoding.AppendEncode(nil, raw))
		if err != nil {
			return
		}
		value, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := mgmt.DecodePayload(value)
		if diff := cmp.Diff(p, again); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}
