package git_test

import (
	"slices"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// TestWithFilter: attributes count at all levels of the tree, as git reads them, and no others.
func TestWithFilter(t *testing.T) {
	g := fixture.NewRepository(t)
	r := open(g)
	const rule = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
	root := func(files map[string]fixture.File) git.OID {
		commit, err := r.Commit(g.Commit("x", files))
		if err != nil {
			t.Fatal(err)
		}
		return commit.Tree
	}
	file := func(content string) fixture.File { return fixture.File{Content: content} }
	paths := []string{"a.bin", "a.txt", "sub/b.bin", "sub/deep/c.bin", "sub/deep/d.txt", "odd\n\".bin", "gone/e.bin"}
	for name, c := range map[string]struct {
		files map[string]fixture.File
		want  []string
	}{
		"none": {map[string]fixture.File{"a.bin": file("x")}, nil},
		"root": {map[string]fixture.File{".gitattributes": file(rule), "sub/b.bin": file("x")},
			[]string{"a.bin", "sub/b.bin", "sub/deep/c.bin", "odd\n\".bin", "gone/e.bin"}},
		"below": {map[string]fixture.File{"sub/.gitattributes": file("*.txt filter=other\n" + rule), "sub/deep/x": file("")},
			[]string{"sub/b.bin", "sub/deep/c.bin"}},
		"taken back": {map[string]fixture.File{".gitattributes": file(rule), "sub/.gitattributes": file("*.bin !filter\n"),
			"sub/deep/.gitattributes": file("c.* filter=lfs\n")},
			[]string{"a.bin", "sub/deep/c.bin", "odd\n\".bin", "gone/e.bin"}},
		"macro": {map[string]fixture.File{".gitattributes": file("[attr]big filter=lfs\nsub/** big\nsub/deep/*.txt -filter"),
			"x": file("")}, []string{"sub/b.bin", "sub/deep/c.bin"}},
		"a link": {map[string]fixture.File{".gitattributes": {Mode: "120000", Content: "sub/x"},
			"sub/x": file(rule)}, nil},
		"not for git": {map[string]fixture.File{".gitattributes": file("*.bin filter=lfs2\n*.txt lfs\n")}, nil},
	} {
		got, err := r.WithFilter(t.Context(), root(c.files), "lfs", paths)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
