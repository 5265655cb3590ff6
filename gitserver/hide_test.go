package gitserver

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestHidingWriter(t *testing.T) {
	var out bytes.Buffer
	c := newClient(time.Minute, func(bool) {})
	w := &hidingWriter{to: c.writer(&out), hide: pathHider("/srv/repos", "/srv/run")}
	said := "fatal: cannot exec '/srv/run/hooks/pre-receive': x\nprogress 1\rprogress 2\rin /srv/repos/a.git, /srv/ru" +
		"\n" + strings.Repeat("long ", 5000) + "the last is /srv/repos"
	for rest := said; rest != ""; {
		n := min(7, len(rest))
		if written, err := w.Write([]byte(rest[:n])); err != nil || written != n {
			t.Fatal(written, err)
		}
		rest = rest[n:]
	}
	if w.saidTooLong() {
		t.Error("nothing said so")
	}
	_, _ = w.Write([]byte("\nerror: " + argsTooLong + "\n"))
	if !w.saidTooLong() {
		t.Error("it was said")
	}
	w.Close()
	c.writers.Wait()
	want := strings.NewReplacer("/srv/run/hooks", "hooks", "/srv/repos/", "", "/srv/repos", "repos").Replace(said)
	if got := out.String(); got != want+"\nerror: "+argsTooLong+"\n" {
		t.Errorf("%.300q", got)
	}
}
