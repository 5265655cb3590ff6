package intent

import (
	"os/exec"
	"strings"
	"testing"
)

func TestProcessHasEnded(t *testing.T) {
	t.Parallel()
	parent := ReceivePack()
	if parent == "" || ProcessLife(parent) != running {
		t.Errorf("the parent %q has ended", parent)
	}
	parts := strings.Split(parent, "/")
	with := func(i int, value string) string {
		changed := append([]string{}, parts...)
		changed[i] = value
		return strings.Join(changed, "/")
	}
	for name, c := range map[string]struct {
		process string
		want    Life
	}{
		"another boot":                   {with(0, "5f0d4f5b-3f5a-4ad2-8d29-2f1ea3f0c0de"), unknown},
		"another start":                  {with(3, "1"), Ended},
		"no such process":                {with(2, "4194305"), Ended}, // above the kernel's limit
		"another namespace, not to know": {with(1, "pid:[1]"), unknown},
		"nothing":                        {"", unknown},
		"nonsense":                       {"a/b", unknown},
	} {
		if got := ProcessLife(c.process); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	child := exec.Command("cat")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	process := processName(child.Process.Pid)
	if process == "" || ProcessLife(process) != running || ProcessLife(ThisProcess()) != running {
		t.Errorf("%q has ended", process)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if ProcessLife(process) != Ended {
		t.Errorf("%q has not ended", process)
	}
}
