package deploy_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
)

func fullRecord() *deploy.Record {
	return &deploy.Record{
		Format: 1, ID: 7, Kind: deploy.KindRollback, Forced: true, Hash: oid160, Path: "srv/web",
		Tree: "4b825dc642cb6eb9a060e54bf8d69288fbee4904", TreeSHA256: emptySHA256, TreeSize: 1234, Files: 812,
		Frontend: deploy.Files, Settings: map[string]string{"b": "2", "a": "<1>"}, PreviousHash: "tree:" + oid160,
		PreviousRecord: deploy.RecordRef{ID: 6, SHA256: emptySHA256}, Repository: "config", Target: "default",
		Ref: "refs/heads/main", Commits: 3, Subject: `tune <the> & "cache"` + "\t\u2028é", Author: "Ada <ada@example.org>",
		Pusher: deploy.Pusher{Name: "laptop", Key: "SHA256:k", Via: "ssh"}, Reason: "because", PushCertificate: oid160,
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
	b, err := deploy.EncodeRecord(fullRecord())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullRecordText, string(b)); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
	back, err := deploy.DecodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullRecord(), back); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestRecordOfALaterKind(t *testing.T) {
	later := strings.Replace(fullRecordText, `"kind"`, `"weather":{"sunny":[true]},"kind"`, 1)
	back, err := deploy.DecodeRecord([]byte(later))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullRecord(), back); diff != "" {
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
		replace(`"tree":"4b`, `"tree":"`):      "record has tree",
		replace(`"tree_size":1`, `"tree_size":-1`):        "record has tree",
		replace(`"files":812`, `"files":-1`):              "record has tree",
		replace(`"tree_sha256":"e3`, `"tree_sha256":"E3`): "tree_sha256",
		replace(`"id":7`, `"id":-7`):                      "not readable",
		replace(`2026-01-02T`, `yesterday`):               "not readable",
	} {
		if _, err := deploy.DecodeRecord([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decode %.60q…: %v, want %q", text, err, want)
		}
	}
}

func TestSubjectIsGitsSubject(t *testing.T) {
	f := newFixture(t)
	for _, message := range []string{
		"one line", "one line\n", "\n\nblank lines first", "subject\n\nbody\n\nmore", "a subject\non two lines\n\nbody",
		"trailing space  \nnext\n\nbody", "  leading", "tab\tinside", "carriage return\r\n\r\nbody", "a\n \nblank is blank", "\n", "",
	} {
		commit := f.repo.commit(message, files{"a": regular("a")})
		want := strings.TrimSpace(f.repo.git("log", "-1", "--format=%s", commit.String()))
		if got := deploy.SubjectOf(message); got != want {
			t.Errorf("subject of %q is %q, git says %q", message, got, want)
		}
	}
}

// A stranger's commit may hold anything; a record stays small and valid UTF-8.
func TestRecordOfAnOutsizedCommit(t *testing.T) {
	f := newFixture(t)
	tree := f.repo.mktree("")
	raw := "tree " + tree.String() + "\nauthor " + strings.Repeat("Ä", 800_000) + " <a\xff@b> 1767225600 +0000\ncommitter C <c@d> 1767225600 +0000\n\n" +
		strings.Repeat("ß", 3000) + "\xff\n"
	commit := strings.TrimSpace(string(f.repo.run([]byte(raw), "hash-object", "-t", "commit", "-w", "--stdin", "--literally")))
	oid := f.repo.oid("rev-parse", commit)
	if _, _, err := f.do(f.job(oid)); err == nil || !strings.Contains(err.Error(), "one value in etcd holds") {
		t.Fatalf("a commit of 1.6 MB: %v", err)
	}
	raw = strings.Replace(raw, strings.Repeat("Ä", 800_000), strings.Repeat("Ä", 300_000), 1)
	commit = strings.TrimSpace(string(f.repo.run([]byte(raw), "hash-object", "-t", "commit", "-w", "--stdin", "--literally")))
	d := f.deploy(f.repo.oid("rev-parse", commit))
	if len(d.RecordBytes) > 4000 || !strings.HasSuffix(d.Record.Subject, "ß…") || !strings.HasSuffix(d.Record.Author, "Ä…") {
		t.Errorf("record of %d bytes: %s", len(d.RecordBytes), d.RecordBytes)
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
		r, err := deploy.DecodeRecord(text)
		if err != nil {
			return
		}
		again, err := deploy.EncodeRecord(r)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		back, err := deploy.DecodeRecord(again)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		last, err := deploy.EncodeRecord(back)
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
		ns, err := deploy.ParseNamespace(s)
		if err != nil {
			wantError[*deploy.RefusedError](t, err, "namespace", "/refship/config")
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
		for _, other := range []deploy.Namespace{ns + "/x", ns, deploy.Namespace(s[:strings.LastIndex(s, "/")])} {
			if other != "" && (!ns.Overlaps(other) || !other.Overlaps(ns)) {
				t.Errorf("%q and %q do not overlap", ns, other)
			}
		}
		if ns.Overlaps(ns+"x") || (ns + "x").Overlaps(ns) {
			t.Errorf("%q overlaps its neighbour", ns)
		}
	})
}
