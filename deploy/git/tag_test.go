package git_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// TestPeel: annotated tags are followed to what they name, and every tag on the way is told.
func TestPeel(t *testing.T) {
	g := fixture.NewRepository(t)
	r := open(g)
	commit := g.CommitTree(g.Tree(), "x")
	tag := func(name string, of git.OID, kind string) git.OID {
		return fixture.OID(g.GitInput(fmt.Sprintf("object %s\ntype %s\ntag %s\ntagger A <a@example.com> 1 +0000\n\n%s\n",
			of, kind, name, name), "hash-object", "-t", "tag", "-w", "--stdin"))
	}
	inner := tag("inner", commit, "commit")
	outer := tag("outer", inner, "tag")
	ofTree := tag("tree", g.Tree(), "tree")
	for name, c := range map[string]struct {
		oid  git.OID
		tags []git.OID
		at   git.OID
	}{
		"commit": {commit, nil, commit}, "tree": {g.Tree(), nil, g.Tree()}, "tag": {inner, []git.OID{inner}, commit},
		"nested": {outer, []git.OID{outer, inner}, commit}, "of a tree": {ofTree, []git.OID{ofTree}, g.Tree()},
	} {
		tags, at, err := r.Peel(t.Context(), c.oid)
		var oids []git.OID
		for _, tag := range tags {
			oids = append(oids, tag.OID)
		}
		if err != nil || at != c.at || fmt.Sprint(oids) != fmt.Sprint(c.tags) {
			t.Errorf("%s: got %v, %v, %v", name, oids, at, err)
		}
	}
	deep := inner
	for i := range 10 {
		deep = tag(fmt.Sprint(i), deep, "tag")
	}
	if _, _, err := r.Peel(t.Context(), deep); err == nil || !strings.Contains(err.Error(), "a tag of a tag, 10 times") {
		t.Errorf("deep: got %v", err)
	}
	missing := fixture.OID(strings.Repeat("1a", 20))
	if _, _, err := r.Peel(t.Context(), missing); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("missing: got %v", err)
	}
	if _, _, err := r.Peel(t.Context(), tag("gone", missing, "commit")); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("a tag of what is missing: got %v", err)
	}
}

// TestSignedTag: what is signed ends where the last signature begins, as git has it.
func TestSignedTag(t *testing.T) {
	const begin = "-----BEGIN SSH SIGNATURE-----\n"
	for _, c := range []struct{ data, signed, signature string }{
		{"object x\n\ntext\n", "object x\n\ntext\n", ""},
		{"object x\n\ntext\n" + begin + "abc\n", "object x\n\ntext\n", begin + "abc\n"},
		{"text " + begin, "text " + begin, ""},
		{"a\n-----BEGIN PGP SIGNATURE-----\nb\n", "a\n", "-----BEGIN PGP SIGNATURE-----\nb\n"},
		{"a\n" + begin + "b\n-----BEGIN SIGNED MESSAGE-----\n", "a\n" + begin + "b\n", "-----BEGIN SIGNED MESSAGE-----\n"},
		{"a\n" + begin + "b\n" + begin + "c\n", "a\n" + begin + "b\n", begin + "c\n"},
	} {
		tag := git.Tag{Data: []byte(c.data)}
		if signed, signature := tag.Signed(); string(signed) != c.signed || string(signature) != c.signature {
			t.Errorf("%q: got %q, %q", c.data, signed, signature)
		}
	}
}
