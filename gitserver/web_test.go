package gitserver

import (
	"errors"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/keys"
)

// TestWebCommand: a link is for the key that has authenticated, alone on standard output, and not in the log.
func TestWebCommand(t *testing.T) {
	var refuse error
	e := start(t, func(s *Server) {
		s.cfg.Link = func(key *keys.Key) (string, []string, error) {
			return "https://deploy.example/login#secret-of-" + key.Name, []string{"good once"}, refuse
		}
	})
	laptop := e.user("laptop", "read:config")
	e.user("other", "admin")
	r := e.ssh(laptop, "other@127.0.0.1", "web")
	if r.status != 0 || r.stdout != "https://deploy.example/login#secret-of-laptop\n" ||
		r.stderr != "refship: good once\n" {
		t.Errorf("got %+v", r)
	}
	if text := e.log.Text(); strings.Contains(text, "secret-of") || !strings.Contains(text, "made a link to the page") {
		t.Errorf("log: %s", text)
	}
	e.fails(e.ssh(laptop, "git@127.0.0.1", "web", "config"), 2, fault.Usage)
	refuse = fault.Refuse("ask for one", "there is none")
	e.fails(e.ssh(laptop, "git@127.0.0.1", "web"), 4, fault.Refused)
	refuse = errors.New("broken")
	e.ssh(laptop, "git@127.0.0.1", "web").want(t, 1, "error: broken")
}

// Without a page there is no link.
func TestWebCommandWithoutPage(t *testing.T) {
	e := start(t)
	e.ssh(e.user("laptop", "admin"), "git@127.0.0.1", "web").want(t, 1, "this server shows no page")
}
