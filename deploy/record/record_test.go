package record_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/tree"
)

const (
	someOID    = "5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80"
	someSHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func fullRecord() *record.Record {
	sum, _ := tree.ParseSHA256(someSHA256)
	return &record.Record{
		Format: 1, Namespace: "/refship/config", Chain: "00112233445566778899aabbccddeeff", ID: 7, Kind: record.KindRollback,
		Forced: true, Hash: someOID, Path: "srv/web",
		Tree: tree.HashObject(tree.FormatSHA1, "tree", nil), TreeSHA256: sum, TreeSize: 1234, Files: 812,
		Frontend: record.Files, Settings: map[string]string{"b": "2", "a": "<1>"}, PreviousHash: "tree:" + someOID,
		PreviousRecord: record.Ref{ID: 6, SHA256: someSHA256}, Repository: "config", Target: "default",
		Ref: "refs/heads/main", Tag: record.Tag{OID: someOID, Key: "SHA256:t"}, Commits: 3, Subject: `tune <the> & "cache"` +
			"\t\u2028é", Author: "Ada <ada@example.org>",
		Pusher: record.Pusher{Name: "laptop", Key: "SHA256:k", Via: "ssh"}, Reason: "because", Again: 6,
		Undone: []record.Undone{{ID: 5, Hash: someOID}}, NextSigner: "SHA256:n", PushCertificate: someOID,
		Server: "host", Signer: "SHA256:s", Time: time.Date(2026, 1, 2, 3, 4, 5, 60e6, time.UTC),
	}
}

const fullRecordText = `{"format":1,"namespace":"/refship/config","chain":"00112233445566778899aabbccddeeff","id":7,` +
	`"kind":"rollback","forced":true,"hash":"5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80",` +
	`"path":"srv/web","tree":"4b825dc642cb6eb9a060e54bf8d69288fbee4904",` +
	`"tree_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","tree_size":1234,"files":812,` +
	`"frontend":"files","settings":{"a":"<1>","b":"2"},"previous_hash":"tree:5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80",` +
	`"previous_record":{"id":6,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},` +
	`"repository":"config","target":"default","ref":"refs/heads/main","tag":{"oid":"5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80",` +
	`"key":"SHA256:t"},"commits":3,` +
	`"subject":"tune <the> & \"cache\"\t\u2028é","author":"Ada <ada@example.org>",` +
	`"pusher":{"name":"laptop","key":"SHA256:k","via":"ssh"},"reason":"because","again":6,` +
	`"undone":[{"id":5,"hash":"5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80"}],"next_signer":"SHA256:n","push_certificate":"5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80","server":"host","signer":"SHA256:s",` +
	`"time":"2026-01-02T03:04:05.06Z"}`

func TestRecordText(t *testing.T) {
	b, err := (*record.Record).Encode(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullRecordText, string(b)); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
	back, err := record.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullRecord(), back, cmpopts.EquateComparable(tree.OID{})); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestRecordOfALaterKind(t *testing.T) {
	later := strings.Replace(fullRecordText, `"kind"`, `"weather":{"sunny":[true]},"kind"`, 1)
	back, err := record.Decode([]byte(later))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullRecord(), back, cmpopts.EquateComparable(tree.OID{})); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestRecordThatIsNone(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(fullRecordText, old) {
			t.Fatalf("%q is not in the text", old)
		}
		return strings.Replace(fullRecordText, old, new, 1)
	}
	for text, want := range map[string]string{
		"":                                         "not readable",
		"null":                                     "format is out of bounds: 0",
		"{}":                                       "format is out of bounds: 0",
		"[]":                                       "not readable",
		fullRecordText + "x":                       "not readable",
		fullRecordText[:len(fullRecordText)-1]:     "not readable",
		replace(`"format":1`, `"format":2`):        "the record has format 2, and this refship reads format 1",
		`{"format":2,"id":"another kind"}`:         "the record has format 2, and this refship reads format 1",
		replace(`"hash":"5d`, `"hash":"5D`):        "hash is out of bounds",
		replace(`"hash":"5d`, `"hash":"`):          "hash is out of bounds",
		replace(`"tree:5d6`, `"tree:6"`):           "",
		replace(`"tree":"4b`, `"tree":"`):          "not 40 or 64",
		replace(`"tree":`, `"no_tree":`):           "tree is out of bounds",
		replace(`"tree_sha256":`, `"no":`):         "tree_sha256 is out of bounds",
		replace(`"tree_size":1`, `"tree_size":-1`): "tree_size is out of bounds",
		replace(`"files":812`, `"files":-1`):       "files is out of bounds",
		replace(`"tree_sha256":"e3`, `"tree_sha256":"E3`): `sha256 "E3`,
		replace(`"id":7`, `"id":-7`):                      "not readable",
		replace(`2026-01-02T`, `yesterday`):               "not readable",
	} {
		if _, err := record.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decode %.60q…: %v, want %q", text, err, want)
		}
	}
}

// Each field alone with a value that no refship writes: somebody who can write etcd may have put it.
func TestRecordOutOfBounds(t *testing.T) {
	long := `"` + strings.Repeat("x", 4_097) + `"`
	for field, values := range map[string][]string{
		"format":        {"0", "-1", "1.5", "null", `"1"`},
		"namespace":     {`""`, "null", `"refship"`, `"/a/deploy"`, `"/../x"`, long},
		"chain":         {`""`, "null", `"0011"`, `"00112233445566778899AABBCCDDEEFF"`, long},
		"id":            {"0", "9007199254740993", "18446744073709551615", "18446744073709551616", "null"},
		"kind":          {`""`, "null", `"Push"`, `"a b"`, long},
		"forced":        {`"true"`, "1"},
		"hash":          {`""`, "null", `"HEAD"`, `"tree:"`, `"tree:` + someOID + `"`, long},
		"path":          {`"/a"`, `"a/../b"`, `"a//b"`, `".git"`, long},
		"tree":          {`""`, `"` + strings.Repeat("0", 40) + `"`, "7"},
		"tree_sha256":   {`""`, `"` + strings.Repeat("0", 64) + `"`, `"` + someOID + `"`},
		"tree_size":     {"-1", "1099511627777", "9223372036854775808"},
		"files":         {"-1", "2147483649"},
		"frontend":      {`""`, "null", `"FILES"`, `"\u0000"`, long},
		"settings":      {`[]`, `{"a":7}`, `{"a":"` + strings.Repeat("x", 9_000) + `"}`},
		"previous_hash": {`"x"`, `"tree:"`, long},
		"previous_record": {`{"id":7,"sha256":"` + someSHA256 + `"}`, `{"id":6,"sha256":""}`, `{"id":0,"sha256":"` +
			someSHA256 + `"}`},
		"repository": {long},
		"target":     {long},
		"ref":        {long},
		"tag":        {`{"oid":"x","key":""}`, `{"oid":"","key":` + long + `}`},
		"commits":    {"-1", "2147483649"},
		"subject":    {long},
		"author":     {long},
		"pusher":     {`{"name":` + long + `}`, `{"key":` + long + `}`, `{"via":` + long + `}`, `"ada"`},
		"reason":     {`"` + strings.Repeat("x", 10_001) + `"`},
		"again":      {"7", "-1"},
		"undone": {"null", `[{"id":7,"hash":"` + someOID + `"}]`, `[{"id":0,"hash":"` + someOID + `"}]`,
			`[{"id":1,"hash":""}]`},
		"next_signer":      {long},
		"push_certificate": {`"x"`, long},
		"server":           {long},
		"signer":           {long},
		"time": {`"10000-01-01T00:00:00Z"`, `"9999-12-31T23:59:59-01:00"`, `"0000-01-01T00:00:00Z"`, `"1969-12-31T23:59:59Z"`,
			`""`, "null", "0"},
	} {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(fullRecordText), &fields); err != nil {
			t.Fatal(err)
		}
		if _, ok := fields[field]; !ok {
			t.Fatalf("no field %s", field)
		}
		for _, value := range values {
			fields[field] = json.RawMessage(value)
			hostile, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := record.Decode(hostile); err == nil || len(err.Error()) > 500 {
				t.Errorf("%s %.40s: %v", field, value, err)
			}
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(fullRecordText))
	f.Add([]byte(strings.Replace(fullRecordText, `"id":7`, `"ID":8,"id":9`, 1)))
	f.Add([]byte("{}"))
	f.Add([]byte(`{"format":1,"settings":null}`))
	f.Add([]byte(strings.Replace(fullRecordText, "2026", "0000", 1)))
	f.Add([]byte(strings.Replace(fullRecordText, "05.06Z", "05.999999999+23:59", 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := record.Decode(text)
		if err != nil {
			return
		}
		again, err := (*record.Record).Encode(r)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		back, err := record.Decode(again)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		last, err := (*record.Record).Encode(back)
		if err != nil || !bytes.Equal(again, last) {
			t.Fatalf("%s became %s, %v", again, last, err)
		}
	})
}

func FuzzParseNamespace(f *testing.F) {
	for _, s := range []string{
		"/refship/config", "/_mgmt", "/refship", "/", "", "a", "/a/", "//a", "/a//b", "/a/deploy", "/deploy", "/fs/a",
		"/storage",
		"/a/refship", "/refship/refship", "/.a", "/-a", "/a b", "/a\x00", "/ä", "/" + strings.Repeat("n", 199),
		"/" + strings.Repeat("n", 200), "/a/../b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ns, err := record.ParseNamespace(s)
		if err != nil {
			if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "namespace") || fault.RemedyOf(err) == "" {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if string(ns) != s || !strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || len(s) > 200 {
			t.Errorf("%q became %q", s, ns)
		}
		for _, element := range strings.Split(s, "/")[1:] {
			if element == "" || element == "." || element == ".." || element == "deploy" || element == "fs" ||
				element == "storage" ||
				strings.ContainsAny(element, " \x00\n%{}") {
				t.Errorf("%q has the element %q", s, element)
			}
		}
		for _, other := range []record.Namespace{ns + "/x", ns, record.Namespace(s[:strings.LastIndex(s, "/")])} {
			if other != "" && (!ns.Overlaps(other) || !other.Overlaps(ns)) {
				t.Errorf("%q and %q do not overlap", ns, other)
			}
		}
		if ns.Overlaps(ns+"x") || (ns + "x").Overlaps(ns) {
			t.Errorf("%q overlaps its neighbour", ns)
		}
	})
}

// Each field of a record has its row, in the record's order.
func TestFormatDocumentHasEveryField(t *testing.T) {
	b, err := os.ReadFile("../FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(fullRecordText))
	depth, at := 0, strings.Index(string(b), "| `format` |")
	for key := true; decoder.More() || depth > 0; {
		token, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		if delim, ok := token.(json.Delim); ok {
			depth += map[json.Delim]int{'{': 1, '}': -1}[delim]
			key = depth == 1
			continue
		}
		if depth != 1 {
			continue
		}
		if name, ok := token.(string); ok && key {
			next := strings.Index(string(b)[at:], "`"+name+"`")
			if next < 0 {
				t.Fatalf("the field %q has no row, or not in its place", name)
			}
			at += next
		}
		key = !key
	}
}
