package git_test

import (
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// rawCommit stores any bytes as a commit, without git's checks.
func rawCommit(g *fixture.Repository, raw string) git.OID {
	g.Helper()
	return fixture.OID(g.GitInput(raw, "hash-object", "-t", "commit", "--literally", "-w", "--stdin"))
}

// TestCommitIsAsGitReadsIt: headers that go on, unknown ones, and a message that looks like headers.
func TestCommitIsAsGitReadsIt(t *testing.T) {
	g := fixture.NewRepository(t)
	r := open(g)
	tree := g.Tree()
	a, b := g.CommitTree(tree, "a"), g.CommitTree(tree, "b")
	start := "tree " + tree.String() + "\n"
	parents := "parent " + a.String() + "\nparent " + b.String() + "\n"
	author := "author A U Thor  <author@example.com> 1700000000 +0100\n"
	committer := "committer C <c@example.com> 1700000001 +0000\n"
	signature := "gpgsig -----BEGIN SSH SIGNATURE-----\n parent " + a.String() + "\n \n -----END SSH SIGNATURE-----\n"
	for name, raw := range map[string]string{
		"root":            start + author + committer + "\nsubject\n",
		"merge":           start + parents + author + committer + "\nsubject\n\nbody\n",
		"signed":          start + parents + author + committer + signature + "\nsubject\n",
		"headers in text": start + author + committer + "\nparent " + a.String() + "\nauthor X <x@example.com> 1 +0000\n",
		"blank lines":     start + author + committer + "\n\n\nsubject\n",
		"no message":      start + author + committer + "\n",
		"cut off":         start + author + committer,
		"two authors":     start + author + "author X <x@example.com> 1 +0000\n" + committer + "\nsubject\n",
		"mail in name":    start + "author A <a@x> B <b@example.com> 1 +0000\n" + committer + "\nsubject\n",
	} {
		oid := rawCommit(g, raw)
		c, err := r.Commit(oid)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, message, _ := strings.Cut(raw, "\n\n")
		wantParents := g.Git("show", "-s", "--format=%P", oid.String())
		var gotParents []string
		for _, p := range c.Parents {
			gotParents = append(gotParents, p.String())
		}
		if c.OID != oid || c.Tree != tree || strings.Join(gotParents, " ") != wantParents || c.Message != message {
			t.Errorf("%s: got %+v, git has the parents %q", name, c, wantParents)
		}
		if name != "mail in name" && c.Author != "A U Thor <author@example.com>" {
			t.Errorf("%s: author %q", name, c.Author)
		}
	}
}

// TestCommitInAnotherEncoding: subject and author read as git shows them, and the oid names the bytes as they are.
func TestCommitInAnotherEncoding(t *testing.T) {
	g := fixture.NewRepository(t)
	r := open(g)
	for _, x := range []struct{ encoding, written, want string }{
		{"ISO-8859-1", "caf\xe9 \x96", "café \u0096"}, // which Windows-1252, the Web's Latin 1, has as a dash
		{"latin1", "caf\xe9", "café"},
		{"latin-1", "caf\xe9 \x96", "café \u0096"}, // which git reads as ISO-8859-1
		{"Latin-1", "caf\xe9", "café"},
		{"iso8859-15", "\xa4", "€"},
		{"windows-1251", "\xcf\xf0\xe8", "При"},
		{"KOI8-R", "\xf0\xd2\xc9", "При"},
		{"EUC-JP", "\xc6\xfc\xcb\xdc", "日本"},
		{"SHIFT_JIS", "\x93\xfa\x96{", "日本"},
		{"ISO-2022-JP", "\x1b$BF|K\\\x1b(B", "日本"},
		{"GB18030", "\xd6\xd0\xce\xc4", "中文"},
		{"UTF-8", "café", "café"},
		{"utf8", "\xe9", "\xe9"},
		{"x-of-our-own", "caf\xe9", "caf\xe9"},
		{"ISO-2022-KR", "caf\xe9", "caf\xe9"}, // which the Web forbids, and replaces by one sign
	} {
		oid := rawCommit(g, "tree "+g.Tree().String()+"\nauthor "+x.written+" <a@example.com> 1700000000 +0100\n"+
			"committer C <c@example.com> 1700000001 +0000\nencoding "+x.encoding+"\n\n"+x.written+"\n")
		c, err := r.Commit(oid)
		if err != nil {
			t.Errorf("%s: %v", x.encoding, err)
			continue
		}
		if c.OID != oid || c.Message != x.want+"\n" || c.Author != x.want+" <a@example.com>" {
			t.Errorf("%s: got %+v", x.encoding, c)
		}
	}
}

func TestMalformedCommits(t *testing.T) {
	g := fixture.NewRepository(t)
	r := open(g)
	for _, raw := range []string{
		"", "\n", "subject\n", "tree\n\nx", "tree 12\n\nx", "author A <a@x> 1 +0000\ntree " + g.Tree().String() + "\n\nx",
		"tree " + g.Tree().String() + "\nparent 12\n\nx",
	} {
		oid := rawCommit(g, raw)
		if c, err := r.Commit(oid); err == nil || !strings.Contains(err.Error(), oid.String()) {
			t.Errorf("%q: got %+v, %v", raw, c, err)
		}
	}
	odd := rawCommit(g, "tree "+g.Tree().String()+"\nauthor nobody\n\nx")
	if c, err := r.Commit(odd); err != nil || c.Author != "" {
		t.Errorf("an author without a mail: got %+v, %v", c, err)
	}
}
