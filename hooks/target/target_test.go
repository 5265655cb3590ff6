package target_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks/target"
)

func TestTargetsRoundTrip(t *testing.T) {
	dir := fixture.NewRepository(t).Dir
	if got, err := target.ReadTargets(dir); err != nil || len(got) != 0 {
		t.Fatalf("targets are %v, %v", got, err)
	}
	want := []target.Target{
		{Name: "0-a", Ref: "refs/tags/prod", Path: `sites/a "b" #c;d\e ü`, Namespace: "/refship/a",
			Frontend: record.Files, Check: ` -x "a b" 'c' # $HOME \ ;	"\"=[ü] `},
		defaultTarget,
	}
	for _, one := range []target.Target{want[1], want[0]} {
		if err := target.AddTarget(t.Context(), dir, one); err != nil {
			t.Fatal(err)
		}
	}
	got, err := target.ReadTargets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.lock")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// Git reads the same.
	for setting, value := range map[string]string{"path": want[0].Path, "check": want[0].Check} {
		cmd := exec.Command("git", "config", "refship.0-a."+setting)
		cmd.Dir, cmd.Env = dir, fixture.GitEnv(dir)
		if out, err := cmd.Output(); err != nil || strings.TrimSuffix(string(out), "\n") != value {
			t.Errorf("git reads %q, %v", out, err)
		}
	}
}

func TestAddTargetRefuses(t *testing.T) {
	dir := fixture.NewRepository(t).Dir
	if err := target.AddTarget(t.Context(), dir, defaultTarget); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	before, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*target.Target)) target.Target {
		target := target.Target{Name: "other", Ref: "refs/heads/other", Namespace: "/refship/other",
			Frontend: record.Files}
		change(&target)
		return target
	}
	for name, c := range map[string]struct {
		target target.Target
		says   string
	}{
		"same name":       {with(func(t *target.Target) { t.Name = "default" }), "target default"},
		"same namespace":  {with(func(t *target.Target) { t.Namespace = "/refship/config" }), "default and other"},
		"namespace in it": {with(func(t *target.Target) { t.Namespace = "/refship/config/x" }), "overlap"},
		"name":            {with(func(t *target.Target) { t.Name = "Other" }), `target name "Other"`},
		"long name":       {with(func(t *target.Target) { t.Name = strings.Repeat("a", 33) }), "target name"},
		"dash first":      {with(func(t *target.Target) { t.Name = "-a" }), "target name"},
		"underscore":      {with(func(t *target.Target) { t.Name = "a_b" }), "target name"},
		"dot":             {with(func(t *target.Target) { t.Name = "a.b" }), "target name"},
		"slash":           {with(func(t *target.Target) { t.Name = "a/b" }), "target name"},
		"not ASCII":       {with(func(t *target.Target) { t.Name = "ä" }), "target name"},
		"short ref":       {with(func(t *target.Target) { t.Ref = "main" }), `target other: ref name "main"`},
		"odd ref":         {with(func(t *target.Target) { t.Ref = "refs/heads/a..b" }), "ref name"},
		"ref not UTF-8":   {with(func(t *target.Target) { t.Ref = "refs/heads/\xff" }), "not UTF-8"},
		"absolute path":   {with(func(t *target.Target) { t.Path = "/a" }), `path "/a"`},
		"path upwards":    {with(func(t *target.Target) { t.Path = "a/../b" }), "path"},
		"path end":        {with(func(t *target.Target) { t.Path = "a/" }), "path"},
		"path dot":        {with(func(t *target.Target) { t.Path = "." }), "path"},
		"path git":        {with(func(t *target.Target) { t.Path = "a/.git" }), "path"},
		"namespace":       {with(func(t *target.Target) { t.Namespace = "refship" }), `namespace "refship"`},
		"frontend":        {with(func(t *target.Target) { t.Frontend = "langpuppet" }), "no mgmt can deploy langpuppet"},
		"blank check":     {with(func(t *target.Target) { t.Check = " \t" }), `check " \t"`},
		"two checks":      {with(func(t *target.Target) { t.Check = "make\nrm -r /" }), `check "make\nrm -r /"`},
		"check with NUL":  {with(func(t *target.Target) { t.Check = "make\x00" }), `check "make\x00"`},
		"check not UTF-8": {with(func(t *target.Target) { t.Check = "make \xff" }), `check "make \xff"`},
		"long check":      {with(func(t *target.Target) { t.Check = strings.Repeat("x", 4097) }), "4097"},
	} {
		t.Run(name, func(t *testing.T) {
			err := target.AddTarget(t.Context(), dir, c.target)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want %q", err, c.says)
			}
			if after, _ := os.ReadFile(config); string(after) != string(before) {
				t.Errorf("the file changed:\n%s", after)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.lock")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}

	// Somebody else is at it.
	if err := os.WriteFile(config+".lock", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	err = target.AddTarget(t.Context(), dir, with(func(*target.Target) {}))
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "config.lock") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(config + ".lock"); err != nil {
		t.Errorf("another process's lock: %v", err)
	}
}

func TestReadTargetsRefusesHalfRules(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"unknown setting": {"[refship \"default\"]\n\tref = refs/heads/main\n\tnamespace = /refship/a\n\tchekc = make\n",
			"unknown setting refship.default.chekc"},
		"no target": {"[refship]\n\tref = refs/heads/main\n", "unknown setting refship.ref"},
		"twice": {"[refship \"default\"]\n\tref = refs/heads/main\n\tRef = refs/heads/x\n\tnamespace = /refship/a\n",
			"refship.default.ref is there twice"},
		"no ref":       {"[refship \"default\"]\n\tnamespace = /refship/a\n", "ref name"},
		"no namespace": {"[refship \"default\"]\n\tref = refs/heads/main\n", "namespace"},
		"no value":     {"[refship \"default\"]\n\tref = refs/heads/main\n\tnamespace\n", "namespace"},
		"same namespace": {"[refship \"a\"]\n\tref = refs/heads/main\n\tnamespace = /refship/a\n" +
			"[refship \"b\"]\n\tref = refs/heads/main\n\tnamespace = /refship/a\n", "overlap"},
		"broken file": {"[refship \"default\"\n", "config"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "config"), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if got, err := target.ReadTargets(dir); err == nil || !strings.Contains(err.Error(), c.says) ||
				strings.Contains(err.Error(), dir) {
				t.Errorf("targets are %v, error is %v, want %q", got, err, c.says)
			}
		})
	}
	dir := t.TempDir()
	text := "[REFSHIP \"default\"]\n\tReF = refs/heads/main ; a comment\n\tnamespace = \"/refship/config\"\n" +
		"[other]\n\tref = x\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := target.ReadTargets(dir)
	if diff := cmp.Diff([]target.Target{defaultTarget}, got); diff != "" || err != nil {
		t.Errorf("targets (-want +got), %v:\n%s", err, diff)
	}
	if _, err := target.ReadTargets(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) ||
		strings.Contains(err.Error(), dir) {
		t.Errorf("of a repository that is not there the error is %v", err)
	}
}
