package gitserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/gitserver/command"
	"refship/hooks/target"
)

// TestReposCommand: what a key may read, what it may do there, and what each target deploys, in columns.
func TestReposCommand(t *testing.T) {
	e := start(t)
	laptop := e.user("laptop", "deploy:config,read:site,push:notes")
	r := e.ssh(laptop, "git@127.0.0.1", "repos")
	r.want(t, 0, "refship: ")
	if r.stdout != "" {
		t.Errorf("got %q", r.stdout)
	}
	e.repo("config")
	site := []target.Target{e.target("site"), {
		Name: "docs", Ref: "refs/heads/main", Path: "doc/user", Namespace: e.namespace("docs"), Frontend: record.Files,
	}}
	for name, targets := range map[string][]target.Target{"site": site, "notes": nil, "secret": {e.target("secret")}} {
		if _, err := e.repos.Create(t.Context(), name, git.FormatSHA1, "refs/heads/main", targets); err != nil {
			t.Fatal(err)
		}
	}
	ns := string(e.namespace("x"))
	ns = ns[:len(ns)-1]
	r = e.ssh(laptop, "git@127.0.0.1", "repos")
	r.want(t, 0)
	want := "config  deploy  default  main           " + ns + "config  files\n" +
		"notes   push    -\n" +
		"site    read    default  main           " + ns + "site    files\n" +
		"site    read    docs     main:doc/user  " + ns + "docs    files\n"
	if r.stdout != want || r.stderr != "" {
		t.Errorf("got\n%swant\n%sstderr %s", r.stdout, want, r.stderr)
	}

	// A repository that cannot be read keeps none of the others from being told, and one that is hidden stays so.
	for _, name := range []string{"site", "secret"} {
		path := filepath.Join(e.repos.Path, name+".git", "config")
		if err := os.WriteFile(path, []byte("[refship \"x\"]\n\tfoo = bar\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = e.ssh(laptop, "git@127.0.0.1", "repos")
	e.fails(r, 4, fault.Refused)
	if !strings.HasPrefix(r.stdout, "config  deploy  ") || strings.Contains(r.stderr, "secret") {
		t.Errorf("got %s\n%s", r.stdout, r.stderr)
	}
}

// TestLogCommand: the latest deploys of one chain.
func TestLogCommand(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop, reader := e.user("laptop", "deploy:config"), e.user("reader", "read:*")
	e.ssh(reader, "git@127.0.0.1", "log", "config").want(t, 0)
	work := e.work()
	const deploys = command.DefaultLimit + 2
	c := e.dial(reader)
	for i := range deploys {
		e.commit(work, "file", fmt.Sprintf("change %d\n", i))
		e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
		if i+1 == command.DefaultLimit { // that is all there is
			for _, ask := range []string{"log config", "log config -n 20"} {
				if r := e.exec(c, ask); r.status != 0 || strings.Count(r.stdout, "\n") != command.DefaultLimit ||
					r.stderr != "" {
					t.Errorf("%s of %d deploys: %+v", ask, command.DefaultLimit, r)
				}
			}
		}
	}
	for _, x := range []struct {
		command string
		lines   int
		cut     bool
	}{
		{"log config", command.DefaultLimit, true},
		{"log config:default", command.DefaultLimit, true},
		{"log -n all config", deploys, false},
		{"log config.git -n 3", 3, false},
		{"log config -n 100", deploys, false},
	} {
		r := e.exec(c, x.command)
		r.want(t, 0)
		lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
		if len(lines) != x.lines || !strings.HasPrefix(lines[0], fmt.Sprint(deploys, " ")) ||
			!strings.Contains(lines[0], "laptop") {
			t.Errorf("%s: %d lines: %s", x.command, len(lines), r.stdout)
		}
		if got := r.stderr != ""; got != x.cut { // that there are more
			t.Errorf("%s: stderr is %q", x.command, r.stderr)
		}
	}
	// A second target makes it necessary to say which.
	second := target.Target{Name: "docs", Ref: "refs/heads/docs", Namespace: e.namespace("docs"),
		Frontend: record.Files}
	if err := e.repos.AddTarget(t.Context(), "config", second); err != nil {
		t.Fatal(err)
	}
	r := e.exec(c, "log config")
	e.fails(r, 4, fault.Refused)
	r.want(t, 4, "default") // the targets that there are
	r = e.exec(c, "log config:nope")
	e.fails(r, 4, fault.Refused)
	r.want(t, 4, "nope", "default")
	if r := e.exec(c, "log config:default -n 1"); r.status != 0 || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("got %+v", r)
	}
	if err := os.WriteFile(filepath.Join(repo.Dir, "config"), []byte("[core\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.fails(e.exec(c, "log config"), 4, fault.Refused)
}

// TestStatusCommand: ref against chain, before and after.
func TestStatusCommand(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop, reader := e.user("laptop", "deploy:config"), e.user("reader", "read:config")
	work := e.work()
	status := func(texts ...string) {
		t.Helper()
		r := e.ssh(reader, "git@127.0.0.1", "status", "config")
		r.want(t, 0)
		for _, text := range texts {
			if !strings.Contains(r.stdout, text) {
				t.Errorf("status has no %q: %s", text, r.stdout)
			}
		}
	}
	status("refs/heads/main", "does not exist")
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
	head := e.mustGit(nil, work, "rev-parse", "HEAD")
	status(head, "equal", "laptop")
	e.commit(work, "file", "two\n")
	e.git(laptop, work, "push", "-o", "deploy.skip", e.url("config"), "main").want(t, 0)
	status(e.mustGit(nil, work, "rev-parse", "HEAD"), head, "ahead by 1 commit")
	e.ssh(laptop, "git@127.0.0.1", "deploy", "config:default").want(t, 0)
	status("equal")
	e.ssh(laptop, "git@127.0.0.1", "deploy", "config:docs").want(t, 4, "docs")
	fixture.WantReason(t, fault.Refused, e.failure(), "")
}

// TestAdmin: the rule admin is for everything on every repository, over SSH too.
func TestAdmin(t *testing.T) {
	e := start(t)
	e.repo("config")
	e.repo("team/site")
	root := e.user("root", "admin")
	work := e.work()
	e.mustGit(root, work, "push", "-q", e.url("config"), "main")
	e.mustGit(root, work, "push", "-q", e.url("team/site"), "main")
	clone := filepath.Join(e.dir, "clone")
	e.mustGit(root, e.dir, "clone", "-q", e.url("team/site"), clone)
	for _, command := range []string{"", "help", "repos", "log config", "log team/site:default", "status team/site",
		"deploy config", "deploy team/site:default"} {
		e.ssh(root, "git@127.0.0.1", command).want(t, 0)
	}
	r := e.ssh(root, "git@127.0.0.1", "repos")
	if strings.Count(r.stdout, "  admin  ") != 2 {
		t.Errorf("got %s", r.stdout)
	}
	// Rewound history, which needs force.
	e.commit(clone, "file", "wrong\n")
	e.mustGit(root, clone, "push", "-q", "origin", "main")
	e.mustGit(nil, clone, "reset", "-q", "--hard", "HEAD~1")
	refused := func(r result) {
		t.Helper()
		if r.want(t, 1); e.result() != "refused" {
			t.Errorf("the push is %q", e.result())
		}
	}
	refused(e.git(root, clone, "push", "--force", "origin", "main"))
	e.git(root, clone, "push", "--force", "-o", "deploy.force", "-o", "deploy.reason=wrong", "origin",
		"main").want(t, 0)
	if d := e.head("team/site"); d == nil || d.ID != 3 || !d.Record.Forced || d.Record.Pusher.Name != "root" {
		t.Errorf("head is %+v", d)
	}
	// A key with the rule deploy may not.
	laptop := e.user("laptop", "deploy:*")
	e.commit(clone, "file", "wrong again\n")
	e.mustGit(laptop, clone, "push", "-q", e.url("team/site"), "main")
	e.mustGit(nil, clone, "reset", "-q", "--hard", "HEAD~1")
	refused(e.git(laptop, clone, "push", "--force", "-o", "deploy.force", "-o", "deploy.reason=wrong",
		e.url("team/site"), "main"))
}
