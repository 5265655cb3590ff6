package gitserver

import (
	"os"
	"path/filepath"
	"testing"

	"refship/hooks/target"
)

// TestRetryOfWhatIsGivenUp: a push that finds its ref moved ends with 1 where its deploy is given up for a later
// decision; undeployed.txtar and server_trouble.txtar have the words.
func TestRetryOfWhatIsGivenUp(t *testing.T) {
	for name, since := range map[string]func(e *env, ops *user){ // what happens after the push
		"another target": func(e *env, _ *user) {
			changed := e.target("config")
			changed.Path = "sub"
			if err := target.SetTarget(t.Context(), filepath.Join(e.srv.cfg.Repos.Path, "config.git"), changed); err != nil {
				t.Fatal(err)
			}
		},
		"rolled back": func(e *env, ops *user) {
			e.ssh(ops, "git@127.0.0.1", "rollback", "config", "1", "login").want(t, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			e.repo("config")
			laptop, ops, work := e.user("laptop", "deploy:config"), e.user("ops", "deploy:*"), e.work()
			e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 1)
			e.commit(work, "file", "two\n")
			e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 2)
			e.commit(work, "file", "three\n")
			end := e.holdOnce("config")
			e.git(laptop, work, "push", e.url("config"), "main").want(t, 1)
			if e.result() != "not deployed" {
				t.Errorf("result is %v", e.result())
			}
			end()
			since(e, ops)
			e.git(laptop, work, "push", e.url("config"), "main").want(t, 1)
			if lines := e.log.About("pushed, not deployed"); len(lines) != 2 {
				t.Errorf("logged %d times", len(lines))
			}
			if line := e.last("deploy"); line["result"] != "not deployed" {
				t.Errorf("log line is %v", line)
			}
			r := e.git(laptop, work, "push", e.url("config"), "main")
			r.want(t, 0)
			r.without(t, "refship")
		})
	}
}

// TestPushBesideWhatWaits: a push that sends another ref reads what is still not deployed, and is as well as before.
func TestPushBesideWhatWaits(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop, work := e.user("laptop", "deploy:config"), e.work()
	end := e.holdOnce("config")
	r := e.git(laptop, work, "push", e.url("config"), "main", "main:first")
	if r.want(t, 1); e.result() != "not deployed" {
		t.Errorf("result is %v", e.result())
	}
	r.without(t, "still not deployed")
	e.git(laptop, work, "push", e.url("config"), "main", "main:second").want(t, 0, "[new branch]",
		"git@HOST deploy config") // the way out, on top of git's own words
	end()
	e.ssh(laptop, "git@127.0.0.1", "deploy", "config").want(t, 0)
	r = e.git(laptop, work, "push", e.url("config"), "main", "main:third")
	r.want(t, 0, "[new branch]")
	r.without(t, "refship: warning")
	dir := filepath.Join(repo.Dir, "refship", "pending")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = e.git(laptop, work, "push", e.url("config"), "main:fourth")
	r.want(t, 0, "[new branch]")
	if !e.logged("cannot look for what earlier pushes left") {
		t.Error("not logged")
	}
}

// TestRetryWithoutIntents: where the server cannot look for what waits, the push says so.
func TestRetryWithoutIntents(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop, work := e.user("laptop", "deploy:config"), e.work()
	e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 1)
	dir := filepath.Join(repo.Dir, "refship", "pending")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := e.git(laptop, work, "push", e.url("config"), "main")
	r.want(t, 1)
	r.without(t, e.dir)
	if !e.logged("pushed, not deployed") {
		t.Error("not logged")
	}
}
