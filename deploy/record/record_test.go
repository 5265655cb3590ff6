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
		Format: 1, ID: 7, Kind: record.KindRollback, Forced: true, Hash: someOID, Path: "srv/web",
		Tree: tree.HashObject("tree", nil), TreeSHA256: sum, TreeSize: 1234, Files: 812,
		Frontend: record.Files, Settings: map[string]string{"b": "2", "a": "<1>"}, PreviousHash: "tree:" + someOID,
		PreviousRecord: record.Ref{ID: 6, SHA256: someSHA256}, Repository: "config", Target: "default",
		Ref: "refs/heads/main", Commits: 3, Subject: `tune <the> & "cache"` + "\t\u2028é", Author: "Ada <ada@example.org>",
		Pusher: record.Pusher{Name: "laptop", Key: "SHA256:k", Via: "ssh"}, Reason: "because", PushCertificate: someOID,
		Server: "host", Signer: "SHA256:s", Time: time.Date(2026, 1, 2, 3, 4, 5, 60e6, time.UTC),
	}
}

const fullRecordText = `{"format":1,"id":7,"kind":"rollback","forced":true,"hash":"5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80",` +
	`"path":"srv/web","tree":"4b825dc642cb6eb9a060e54bf8d69288fbee4904",` +
	`"tree_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","tree_size":1234,"files":812,` +
	`"frontend":"files","settings":{"a":"<1>","b":"2"},"previous_hash":"tree:5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80",` +
	`"previous_record":{"id":6,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},` +
	`"repository":"config","target":"default","ref":"refs/heads/main","commits":3,` +
	`"subject":"tune <the> & \"cache\"\t\u2028é","author":"Ada <ada@example.org>",` +
	`"pusher":{"name":"laptop","key":"SHA256:k","via":"ssh"},"reason":"because",` +
	`"push_certificate":"5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80","server":"host","signer":"SHA256:s",` +
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
		"":                                     "not readable",
		"null":                                 "format 0",
		"{}":                                   "format 0",
		"[]":                                   "not readable",
		fullRecordText + "x":                   "not readable",
		fullRecordText[:len(fullRecordText)-1]: "not readable",
		replace(`"format":1`, `"format":2`):    "record has format 2, this refship reads 1",
		replace(`"hash":"5d`, `"hash":"5D`):    "deploy hash",
		replace(`"hash":"5d`, `"hash":"`):      "deploy hash",
		replace(`"tree:5d6`, `"tree:6"`):       "",
		replace(`"tree":"4b`, `"tree":"`):      "not 40 or 64",
		replace(`"tree":`, `"no_tree":`):       "record has tree",
		replace(`"tree_sha256":`, `"no":`):     "record has tree",
		replace(`"tree_size":1`, `"tree_size":-1`):        "record has tree",
		replace(`"files":812`, `"files":-1`):              "record has tree",
		replace(`"tree_sha256":"e3`, `"tree_sha256":"E3`): `sha256 "E3`,
		replace(`"id":7`, `"id":-7`):                      "not readable",
		replace(`2026-01-02T`, `yesterday`):               "not readable",
	} {
		if _, err := record.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decode %.60q…: %v, want %q", text, err, want)
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
		"/refship/config", "/_mgmt", "/refship", "/", "", "a", "/a/", "//a", "/a//b", "/a/deploy", "/deploy", "/fs/a", "/storage",
		"/a/refship", "/refship/refship", "/.a", "/-a", "/a b", "/a\x00", "/ä", "/" + strings.Repeat("n", 199), "/" + strings.Repeat("n", 200), "/a/../b",
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
			if element == "" || element == "." || element == ".." || element == "deploy" || element == "fs" || element == "storage" ||
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
