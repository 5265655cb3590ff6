package repos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/target"
)

func newTarget(ns string) target.Target {
	return target.Target{Name: "default", Ref: "refs/heads/main", Namespace: record.Namespace(ns),
		Frontend: record.Files}
}

// refusal is what tells one error from another. Each has a remedy, or a reason for which the program words one.
type refusal struct {
	kind   fault.Kind
	reason string // with what it is about; "" if there is none
}

func overlap(repository, name string) refusal {
	return refusal{fault.Failed, "namespace-overlaps " + repository + " " + name}
}

func (r refusal) check(t *testing.T, what string, err error) {
	t.Helper()
	reason, about := fault.ReasonOf(err)
	got := strings.TrimSpace(strings.Join(append([]string{string(reason)}, about...), " "))
	if fault.KindOf(err) != r.kind || got != r.reason || reason == "" && fault.RemedyOf(err) == "" {
		t.Errorf("%s: got kind %d, reason %q, %v", what, fault.KindOf(err), got, err)
	}
}

func TestCreate(t *testing.T) {
	ctx := t.Context()
	r := Dir{Path: filepath.Join(t.TempDir(), "deep", "repos")}
	if all, err := r.List(); err != nil || len(all) != 0 {
		t.Fatalf("list of nothing: %v, %v", all, err)
	}
	targets := []target.Target{
		{Name: "b", Ref: "refs/heads/live", Path: "sub/dir", Namespace: "/refship/b", Frontend: record.Files},
		{Name: "a", Ref: "refs/heads/main", Namespace: "/refship/a", Frontend: record.Files},
	}
	repo, err := r.Create(ctx, "team/config", git.FormatSHA1, "refs/heads/live", targets)
	if err != nil {
		t.Fatal(err)
	}
	want := &Repository{
		Name: "team/config", Dir: filepath.Join(r.Path, "team", "config.git"),
		Targets: []target.Target{targets[1], targets[0]},
	}
	if diff := cmp.Diff(want, repo); diff != "" {
		t.Error(diff)
	}
	head, err := os.ReadFile(filepath.Join(repo.Dir, "HEAD"))
	if err != nil || string(head) != "ref: refs/heads/live\n" {
		t.Errorf("HEAD is %q, %v", head, err)
	}
	// "team" beside "team/config", and the same name in another case.
	for _, name := range []string{"team", "Team/config"} {
		if _, err := r.Create(ctx, name, git.FormatSHA1, "refs/heads/main", nil); err != nil {
			t.Fatal(err)
		}
	}
	// Foreign things, and what a process that died left.
	for _, d := range []string{"junk", "not.git", ".hidden.git/refs", "-x.git", "a b.git", "team/.new-123/objects"} {
		if err := os.MkdirAll(filepath.Join(r.Path, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"README", "file.git"} {
		if err := os.WriteFile(filepath.Join(r.Path, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(repo.Dir, filepath.Join(r.Path, "link.git")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("team", filepath.Join(r.Path, "group")); err != nil {
		t.Fatal(err)
	}
	all, err := r.List()
	var names []string
	for _, repo := range all {
		names = append(names, repo.Name)
	}
	if diff := cmp.Diff([]string{"Team/config", "team", "team/config"}, names); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, name := range []string{"nope", "link", "group/config", "not", "file", "team/nope"} {
		if _, err := r.Find(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("find %s: %v", name, err)
		}
	}
	if _, err := r.Create(ctx, "team/other", git.FormatSHA1, "refs/heads/main", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.Path, "team", ".new-123")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unfinished repository is still there: %v", err)
	}
}

func TestCreateRefused(t *testing.T) {
	ctx := t.Context()
	r := Dir{Path: t.TempDir()}
	if _, err := r.Create(ctx, "config", git.FormatSHA1, "refs/heads/main", []target.Target{newTarget("/refship/config")}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, ref string
		targets   []target.Target
		want      refusal
	}{
		{"config", "refs/heads/main", nil, refusal{fault.Failed, "repository-exists config"}},
		{"../x", "refs/heads/main", nil, refusal{kind: fault.Usage}},
		{"x", "main", nil, refusal{kind: fault.Usage}},
		{"x", "refs/tags/v1", nil, refusal{kind: fault.Usage}},
		{"x", "refs/heads/a..b", nil, refusal{kind: fault.Usage}},
		{"x", "refs/heads/main", []target.Target{newTarget("/a"), {Name: "b", Ref: "refs/heads/main/b", Namespace: "/b",
			Frontend: record.Files}}, refusal{kind: fault.Usage}},
		{"x", "refs/heads/main", []target.Target{newTarget("/refship/config")}, overlap("config", "default")},
		{"x", "refs/heads/main", []target.Target{newTarget("/refship")}, overlap("config", "default")},
		{"x", "refs/heads/main", []target.Target{newTarget("/refship/config/sub")}, overlap("config", "default")},
		{"x", "refs/heads/main", []target.Target{newTarget("/a"), newTarget("/a/b")}, overlap("x", "default")},
		{"x", "refs/heads/main", []target.Target{newTarget("/a"), newTarget("/b")}, refusal{kind: fault.Refused}},
		{"x", "refs/heads/main", []target.Target{newTarget("bad")}, refusal{kind: fault.Refused}},
	} {
		_, err := r.Create(ctx, x.name, git.FormatSHA1, x.ref, x.targets)
		x.want.check(t, fmt.Sprint(x.name, " ", x.ref, " ", x.targets), err)
	}
	names, err := r.Names()
	if diff := cmp.Diff([]string{"config"}, names); diff != "" || err != nil {
		t.Error(diff, err)
	}
	left, err := filepath.Glob(filepath.Join(r.Path, ".new-*"))
	if len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestCreateTogether: of many that want overlapping namespaces or one name at the same time, one wins.
func TestCreateTogether(t *testing.T) {
	r := Dir{Path: t.TempDir()}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			name := "config"
			if i%2 == 0 {
				name = fmt.Sprint("other", i)
			}
			_, errs[i] = r.Create(t.Context(), name, git.FormatSHA1, "refs/heads/main", []target.Target{newTarget("/refship/config")})
		})
	}
	wg.Wait()
	won := len(slices.DeleteFunc(errs, func(err error) bool { return err != nil }))
	names, err := r.Names()
	if won != 1 || len(names) != 1 || err != nil {
		t.Errorf("%d won, repositories are %v, %v", won, names, err)
	}
}

// TestBrokenTargets: one repository's bad config hides no other, and no namespace is given away meanwhile.
func TestBrokenTargets(t *testing.T) {
	ctx := t.Context()
	r := Dir{Path: t.TempDir()}
	for _, name := range []string{"bad", "good"} {
		if _, err := r.Create(ctx, name, git.FormatSHA1, "refs/heads/main",
			[]target.Target{newTarget("/refship/" + name)}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(r.Path, "bad.git", "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("[refship \"default\"]\n\tcolour = red\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := r.List()
	if len(all) != 1 || all[0].Name != "good" || err == nil || !strings.Contains(err.Error(), "repository bad") {
		t.Errorf("got %v, %v", all, err)
	}
	if _, err := r.Create(ctx, "new", git.FormatSHA1, "refs/heads/main", []target.Target{newTarget("/refship/new")}); err == nil {
		t.Error("created while namespaces are unknown")
	}
}

// TestTargets adds, replaces and removes targets; the overlap check looks at all repositories, but for a target that
// goes away.
func TestTargets(t *testing.T) {
	ctx := t.Context()
	r := Dir{Path: t.TempDir()}
	if _, err := r.Create(ctx, "config", git.FormatSHA1, "refs/heads/main", []target.Target{newTarget("/refship/config")}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Create(ctx, "site", git.FormatSHA1, "refs/heads/main", []target.Target{newTarget("/refship/site")}); err != nil {
		t.Fatal(err)
	}
	targets := func() []target.Target {
		t.Helper()
		repo, err := r.Find("config")
		if err != nil {
			t.Fatal(err)
		}
		return repo.Targets
	}
	docs := target.Target{Name: "docs", Ref: "refs/heads/main", Path: "doc", Namespace: "/refship/docs",
		Frontend: record.Files}
	if err := r.AddTarget(ctx, "config", docs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]target.Target{newTarget("/refship/config"), docs}, targets()); diff != "" {
		t.Error(diff)
	}
	// In its own namespace, above it, below it, elsewhere.
	for _, ns := range []record.Namespace{"/refship/docs", "/refship/docs/new", "/refship/manual"} {
		docs.Namespace, docs.Ref, docs.Path = ns, "refs/heads/live", ""
		if err := r.SetTarget(ctx, "config", docs); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]target.Target{newTarget("/refship/config"), docs}, targets()); diff != "" {
			t.Error(diff)
		}
	}
	before := targets()
	with := func(name string, ns record.Namespace) target.Target {
		changed := docs
		changed.Name, changed.Namespace = name, ns
		return changed
	}
	refused, unknown := refusal{kind: fault.Refused}, refusal{fault.Refused, "repository-unknown nope"}
	for _, x := range []struct {
		what string
		err  error
		want refusal
	}{
		{"add, own namespace", r.AddTarget(ctx, "config", with("more", "/refship/config")), overlap("config", "default")},
		{"add, another's", r.AddTarget(ctx, "config", with("more", "/refship/site")), overlap("site", "default")},
		{"add, below another's", r.AddTarget(ctx, "config", with("more", "/refship/site/x")), overlap("site", "default")},
		{"add, above all", r.AddTarget(ctx, "config", with("more", "/refship")), overlap("config", "default")},
		{"add, same name and namespace", r.AddTarget(ctx, "config", docs), overlap("config", "docs")},
		{"add, same name", r.AddTarget(ctx, "config", with("docs", "/refship/other")), refused},
		{"add, bad name", r.AddTarget(ctx, "config", with("Docs", "/refship/other")), refused},
		{"add, no repository", r.AddTarget(ctx, "nope", docs), unknown},
		{"add, no name", r.AddTarget(ctx, "../x", docs), refusal{kind: fault.Usage}},
		{"set, another's", r.SetTarget(ctx, "config", with("docs", "/refship/site")), overlap("site", "default")},
		{"set, own other", r.SetTarget(ctx, "config", with("docs", "/refship/config")), overlap("config", "default")},
		{"set, elsewhere", r.SetTarget(ctx, "config", with("default", "/refship/site")), overlap("site", "default")},
		{"set, bad namespace", r.SetTarget(ctx, "config", with("docs", "refship")), refused},
		{"set, unknown", r.SetTarget(ctx, "config", with("more", "/refship/other")), refused},
		{"set, no repository", r.SetTarget(ctx, "nope", docs), unknown},
		{"remove, unknown", r.RemoveTarget(ctx, "config", "more"), refused},
		{"remove, no repository", r.RemoveTarget(ctx, "nope", "docs"), unknown},
	} {
		x.want.check(t, x.what, x.err)
	}
	if diff := cmp.Diff(before, targets()); diff != "" {
		t.Error(diff)
	}
	if err := r.RemoveTarget(ctx, "config", "default"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]target.Target{docs}, targets()); diff != "" {
		t.Error(diff)
	}
	if err := r.AddTarget(ctx, "site", with("more", "/refship/config")); err != nil { // which is free now
		t.Error(err)
	}
}

// TestAddTargetRace: of many at once that want one namespace, one gets it.
func TestAddTargetRace(t *testing.T) {
	ctx := t.Context()
	r := Dir{Path: t.TempDir()}
	const n = 8
	for i := range n {
		if _, err := r.Create(ctx, fmt.Sprintf("r%d", i), git.FormatSHA1, "refs/heads/main", nil); err != nil {
			t.Fatal(err)
		}
	}
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = r.AddTarget(ctx, fmt.Sprintf("r%d", i), newTarget("/refship/one")) })
	}
	all.Wait()
	failed := 0
	for _, err := range errs {
		switch reason, _ := fault.ReasonOf(err); {
		case reason == ReasonOverlap:
			failed++
		case err != nil:
			t.Error(err)
		}
	}
	if failed != n-1 {
		t.Errorf("%d of %d were refused", failed, n)
	}
}
