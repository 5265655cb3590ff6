package main

import (
	"os"
	"regexp"
	"testing"
)

// The operator hears at the start which repository git will not work in, and how to put that right.
func TestStartTellsRepositoryOfAnotherAccount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a repository to another account")
	}
	t.Parallel()
	w := newWorld(t)
	dir := w.in("data/repos/config.git")
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	w.serve("")
	if w.server.wait(regexp.MustCompile(
		`(?m)^refship: warning: repository config belongs to the account \S+, and .*; chown -R \S+ `+
			regexp.QuoteMeta(dir)+"$")) == nil {
		t.Errorf("the server said %s", w.server.text())
	}
}
