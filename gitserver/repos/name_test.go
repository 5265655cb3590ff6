package repos

import (
	"path/filepath"
	"strings"
	"testing"
)

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"config", "team/config", "../x", "a//b", "a.git", "deploy", "-x",
		strings.Repeat("a", 101), "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckName(s) == nil {
			checkName(t, s)
		}
	})
}

// checkName holds a name against what it is used for: a path below a directory, a word for a shell, an etcd prefix.
func checkName(t *testing.T, name string) {
	t.Helper()
	if name == "" || len(name) > 100 || !filepath.IsLocal(name) || filepath.Clean(name) != name {
		t.Errorf("%q is no clean path", name)
	}
	for e := range strings.SplitSeq(name, "/") {
		if e == "" || e[0] == '.' || e[0] == '-' || strings.HasSuffix(e, ".git") || strings.HasSuffix(e, ".lock") {
			t.Errorf("%q has the element %q", name, e)
		}
		if e == "deploy" || e == "fs" || e == "storage" || e == "refship" {
			t.Errorf("%q has a reserved element", name)
		}
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") != "" {
		t.Errorf("%q has other characters", name)
	}
}
