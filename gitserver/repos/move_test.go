package repos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/hooks/target"
)

func pass(string) error { return nil }

// A repository that is used keeps its name; one that gets another cannot be used meanwhile.
func TestRenameAndUse(t *testing.T) {
	ctx := t.Context()
	r := Dir{Path: t.TempDir()}
	for _, name := range []string{"team/config", "site"} {
		ns := "/refship/" + strings.ReplaceAll(name, "/", "-")
		if _, err := r.Create(ctx, name, git.FormatSHA1, "refs/heads/main", []target.Target{newTarget(ns)}); err != nil {
			t.Fatal(err)
		}
	}
	before, err := r.Find("team/config")
	if err != nil {
		t.Fatal(err)
	}
	release, err := r.Use("team/config")
	if err != nil {
		t.Fatal(err)
	}
	asked := errors.New("told to end")
	short, cancel := context.WithCancelCause(ctx)
	cancel(asked)
	if err := r.Rename(short, "team/config", "ops/x", pass); !errors.Is(err, asked) {
		t.Errorf("renamed while it is used: %v", err)
	}
	if err := r.Remove(short, "team/config", pass); !errors.Is(err, asked) {
		t.Errorf("removed while it is used: %v", err)
	}
	release()
	refuses := errors.New("refused")
	if err := r.Rename(ctx, "team/config", "ops/x", func(string) error { return refuses }); !errors.Is(err, refuses) {
		t.Error(err)
	}
	err = r.Rename(ctx, "team/config", "site", pass)
	if reason, _ := fault.ReasonOf(err); reason != ReasonExists {
		t.Error(err)
	}
	if err := r.Rename(ctx, "nope", "x", pass); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := r.Rename(ctx, "site", "../x", pass); fault.KindOf(err) != fault.Usage {
		t.Error(err)
	}
	err = r.Rename(ctx, "team/config", "ops/x", func(dir string) error {
		if dir != before.Dir {
			t.Errorf("check looks at %s", dir)
		}
		_, err := r.Use("team/config")
		if err == nil || !strings.Contains(err.Error(), "is being renamed or removed") {
			t.Errorf("used meanwhile: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Use("team/config"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	after, err := r.Find("ops/x")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Targets, after.Targets); diff != "" {
		t.Error(diff)
	}
	hook, err := os.ReadFile(filepath.Join(after.Dir, "hooks", "pre-receive"))
	if err != nil || !strings.Contains(string(hook), "repository ops/x belongs") {
		t.Errorf("%s, %v", hook, err)
	}
	if _, err := os.Stat(filepath.Join(r.Path, "team")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the old name's directory is still there")
	}
}

// A removed repository is gone at once, and what a removal that died left is removed by the next repository there.
func TestRemove(t *testing.T) {
	ctx := t.Context()
	r := Dir{Path: t.TempDir()}
	create := func(name string) {
		t.Helper()
		if _, err := r.Create(ctx, name, git.FormatSHA1, "refs/heads/main", []target.Target{newTarget("/refship/" + name)}); err != nil {
			t.Fatal(err)
		}
	}
	create("config")
	refuses := errors.New("refused")
	if err := r.Remove(ctx, "config", func(string) error { return refuses }); !errors.Is(err, refuses) {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(r.Path, removing+"1", "git", "refs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(ctx, "config", pass); err != nil {
		t.Fatal(err)
	}
	if names, err := r.Names(); len(names) != 0 || err != nil {
		t.Error(names, err)
	}
	if err := r.Remove(ctx, "config", pass); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	create("config") // its namespace is free again
	left, err := filepath.Glob(filepath.Join(r.Path, removing+"*"))
	if len(left) > 0 || err != nil {
		t.Error(left, err)
	}
}
