package target_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks/target"
)

func TestSetAndRemoveTarget(t *testing.T) {
	dir := fixture.NewRepository(t).Dir
	www := files("www", "refs/heads/main", "www")
	original := readConfig(t, dir)
	for _, one := range []target.Target{defaultTarget, www} {
		if err := target.AddTarget(t.Context(), dir, one); err != nil {
			t.Fatal(err)
		}
	}
	two := readConfig(t, dir)
	for _, changed := range []target.Target{
		{Name: "www", Ref: "refs/tags/prod", Path: `sites/a "b" #c;d\e ü`, Namespace: "/other/www",
			Frontend: record.Files, Check: "--unset"},
		{Name: "www", Ref: "refs/heads/main", Namespace: "/refship/www", Frontend: record.Files},
		www,
	} {
		if err := target.SetTarget(t.Context(), dir, changed); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]target.Target{defaultTarget, changed}, targetsOf(t, dir)); diff != "" {
			t.Errorf("targets (-want +got):\n%s", diff)
		}
		fixture.WantTidy(t, dir)
	}
	if diff := cmp.Diff(two, readConfig(t, dir)); diff != "" {
		t.Errorf("the same targets in another file (-want +got):\n%s", diff)
	}

	// A section in two parts and with comments goes whole; what is not refship's stays.
	text := strings.Replace(two, "[refship \"www\"]",
		"# a comment\n[other \"www\"]\n\tkey = value\n[refship \"www\"]\n\t# about www", 1) +
		"[refship \"www\"]\n\n# the end\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := target.RemoveTarget(t.Context(), dir, "www"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]target.Target{defaultTarget}, targetsOf(t, dir)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if after := readConfig(t, dir); strings.Contains(strings.ToLower(after), `[refship "www"]`) ||
		!strings.Contains(after, "[other \"www\"]\n\tkey = value\n") {
		t.Errorf("config is\n%s", after)
	}
	// git config takes away no section that is spelt otherwise.
	odd := strings.Replace(readConfig(t, dir), "[refship", "[RefShip", 1)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(odd), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := target.RemoveTarget(t.Context(), dir, "default"); err == nil || readConfig(t, dir) != odd {
		t.Errorf("error is %v, config is\n%s", err, readConfig(t, dir))
	}
	fixture.WantTidy(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(strings.ToLower(odd)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := target.RemoveTarget(t.Context(), dir, "default"); err != nil {
		t.Fatal(err)
	}
	if after := readConfig(t, dir); len(targetsOf(t, dir)) != 0 || !strings.HasPrefix(after, original) {
		t.Errorf("config is\n%s", after)
	}
	fixture.WantTidy(t, dir)
}

func TestSetAndRemoveTargetRefuse(t *testing.T) {
	dir := fixture.NewRepository(t).Dir
	refused := func(err error, names, advice string) {
		t.Helper()
		fixture.WantFault(t, fault.Refused, err, names, advice)
		fixture.WantTidy(t, dir)
	}
	refused(target.RemoveTarget(t.Context(), dir, "www"), `"www"`, "target-none")
	www := files("www", "refs/heads/main", "www")
	for _, one := range []target.Target{defaultTarget, www} {
		if err := target.AddTarget(t.Context(), dir, one); err != nil {
			t.Fatal(err)
		}
	}
	before := readConfig(t, dir)
	refused(target.RemoveTarget(t.Context(), dir, "x"), `"x"`, "default, www")
	refused(target.SetTarget(t.Context(), dir, files("x", "refs/heads/main", "")), `"x"`, "default, www")
	overlapping := www
	overlapping.Namespace = "/refship/config/www"
	refused(target.SetTarget(t.Context(), dir, overlapping), "default and www", "namespace")
	refused(target.SetTarget(t.Context(), dir, files("www", "main", "")), `ref name "main"`, "")
	lock := filepath.Join(dir, "config.lock")
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{target.RemoveTarget(t.Context(), dir, "www"), target.SetTarget(t.Context(), dir, www)} {
		fixture.WantFault(t, fault.Refused, err, "config.lock", "try again")
		if _, err := os.Stat(lock); err != nil {
			t.Errorf("another process's lock: %v", err)
		}
	}
	if diff := cmp.Diff(before, readConfig(t, dir)); diff != "" {
		t.Errorf("the file changed:\n%s", diff)
	}
}

// TestRefsThatCanNeverBe: no target gets a ref that git could never have beside those of the others. One that was
// written before is read, and everything else of it can be changed.
func TestRefsThatCanNeverBe(t *testing.T) {
	dir := fixture.NewRepository(t).Dir
	ctx := t.Context()
	www := files("www", "refs/heads/web", "")
	for _, one := range []target.Target{defaultTarget, www} {
		if err := target.AddTarget(ctx, dir, one); err != nil {
			t.Fatal(err)
		}
	}
	for _, ref := range []string{"refs/heads/main/x", "refs/notes/deploys", "refs/notes/deploys/x"} {
		www.Ref = ref
		one := files("one", ref, "")
		fixture.WantFault(t, fault.Usage, target.AddTarget(ctx, dir, one), ref, "choose")
		fixture.WantFault(t, fault.Usage, target.SetTarget(ctx, dir, www), ref, "choose")
	}
	for i, ref := range []string{"refs/heads/main-x", "refs/heads/@", "refs/heads/-x", "refs/notes/other"} {
		if err := target.AddTarget(ctx, dir, files(fmt.Sprint("ok", i), ref, "")); err != nil {
			t.Error(err)
		}
	}
	g := fixture.GitEnv(t.TempDir())
	fixture.Git(t, dir, g, "config", "refship.www.ref", "refs/heads/main/x")
	www.Ref, www.Check = "refs/heads/main/x", "true"
	if err := target.SetTarget(ctx, dir, www); err != nil {
		t.Error(err)
	}
}

// Changes of targets at the same time do not wait and lose nothing: each is made, or is refused.
func TestTargetsChangedAtOnce(t *testing.T) {
	dir := fixture.NewRepository(t).Dir
	const n = 8
	done := make([]bool, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for !done[i] {
				err := target.AddTarget(t.Context(), dir, files(fmt.Sprintf("t%d", i), "refs/heads/main", ""))
				done[i] = err == nil
				if err != nil && !strings.Contains(err.Error(), "config.lock") {
					t.Error(err)
					return
				}
				targetsOf(t, dir) // at each moment the file is whole
			}
		})
	}
	all.Wait()
	if got := targetsOf(t, dir); len(got) != n {
		t.Errorf("%d targets: %v", len(got), got)
	}
	fixture.WantTidy(t, dir)
}
