package deploy_test

import (
	"strings"
	"testing"

	"refship/deploy/record"
)

func TestSubjectIsGitsSubject(t *testing.T) {
	f := newSetup(t)
	for _, message := range []string{
		"one line", "one line\n", "\n\nblank lines first", "subject\n\nbody\n\nmore", "a subject\non two lines\n\nbody",
		"trailing space  \nnext\n\nbody", "  leading", "tab\tinside", "carriage return\r\n\r\nbody", "a\n \nblank is blank",
		"\n", "",
	} {
		commit := f.repo.commit(message, files{"a": regular("a")})
		want := strings.TrimSpace(f.repo.Git("log", "-1", "--format=%s", commit.String()))
		if got := record.SubjectOf(message); got != want {
			t.Errorf("subject of %q is %q, git says %q", message, got, want)
		}
	}
}

// A stranger's commit may hold anything; a record stays small and valid UTF-8.
func TestRecordOfAnOutsizedCommit(t *testing.T) {
	f := newSetup(t)
	tree := f.repo.mktree("")
	raw := "tree " + tree.String() + "\nauthor " + strings.Repeat("Ä", 800_000) +
		" <a\xff@b> 1767225600 +0000\ncommitter C <c@d> 1767225600 +0000\n\n" +
		strings.Repeat("ß", 3000) + "\xff\n"
	commit := strings.TrimSpace(string(
		f.repo.run([]byte(raw), "hash-object", "-t", "commit", "-w", "--stdin", "--literally")))
	oid := f.repo.OID("rev-parse", commit)
	if _, _, err := f.do(f.job(oid)); err == nil || !strings.Contains(err.Error(), "one value in etcd holds") {
		t.Fatalf("a commit of 1.6 MB: %v", err)
	}
	raw = strings.Replace(raw, strings.Repeat("Ä", 800_000), strings.Repeat("Ä", 300_000), 1)
	commit = strings.TrimSpace(string(
		f.repo.run([]byte(raw), "hash-object", "-t", "commit", "-w", "--stdin", "--literally")))
	d := f.deploy(f.repo.OID("rev-parse", commit))
	if len(d.RecordBytes) > 4000 || !strings.HasSuffix(d.Record.Subject, "ß…") ||
		!strings.HasSuffix(d.Record.Author, "Ä…") {
		t.Errorf("record of %d bytes: %s", len(d.RecordBytes), d.RecordBytes)
	}
}
