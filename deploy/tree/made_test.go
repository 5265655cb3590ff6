package tree_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"refship/deploy/tree"
)

// What is made in memory is what the same files would be on disk.
func TestMakeDirectory(t *testing.T) {
	files := map[string]string{"b.mcl": "b\n", "a": "", "b": "bb", "b-c": "b\n"}
	dir, contents := t.TempDir(), map[string][]byte{}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		contents[name] = []byte(content)
	}
	want, err := tree.ReadDirectory(t.Context(), tree.FormatSHA1, dir, nil, func(int, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	made, err := tree.MakeDirectory(tree.FormatSHA1, "b.mcl", contents)
	if err != nil {
		t.Fatal(err)
	}
	if made.Root() != want.Root() || made.Files != want.Files || made.Bytes != want.Bytes || made.Name != "b.mcl" ||
		!made.IsFile || want.IsFile {
		t.Errorf("made %+v, want %+v", made, want)
	}
	entries, err := made.Tree(made.Root())
	if err != nil || len(entries) != len(files) {
		t.Fatalf("entries %v, %v", entries, err)
	}
	oids := make([]tree.OID, len(entries))
	for i, e := range entries {
		oids[i] = e.OID
	}
	sizes, err := made.Sizes(t.Context(), oids)
	if err != nil {
		t.Fatal(err)
	}
	err = made.Blobs(t.Context(), oids, func(i int, size int64, r io.Reader) error {
		content, err := io.ReadAll(r)
		if want := files[entries[i].Name]; string(content) != want || size != int64(len(want)) || sizes[i] != size {
			t.Errorf("%s: %q of %d bytes", entries[i].Name, content, size)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	err = made.Blobs(t.Context(), []tree.OID{made.Root()}, func(int, int64, io.Reader) error { return nil })
	if !errors.Is(err, tree.ErrNotFound) {
		t.Errorf("a blob that is not there: %v", err)
	}
	for _, name := range []string{"", ".", "..", ".git", "a/b", "a\x00b"} {
		if _, err := tree.MakeDirectory(tree.FormatSHA1, "x", map[string][]byte{name: nil}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}
