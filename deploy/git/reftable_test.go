package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy/git"
)

// A list that names a table which is not there, or a path, is an error, and no end of tries.
func TestBadReftable(t *testing.T) {
	dir := t.TempDir()
	if files, err := git.ReadReftable(t.Context(), dir); files != nil || err != nil {
		t.Errorf("without tables: %v, %v", files, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "reftable"), 0o700); err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]string{
		"0x01-0x02-a.ref\n": "0x01-0x02-a.ref", "../config\n": "no table", "x\n": "no table", "/etc/x.ref\n": "no table",
	} {
		if err := os.WriteFile(filepath.Join(dir, "reftable/tables.list"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		if files, err := git.ReadReftable(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", list, files, err)
		}
	}
}
