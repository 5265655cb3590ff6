package hooks

import (
	"os/exec"
	"strings"
	"testing"
)

func TestProcessHasEnded(t *testing.T) {
	t.Parallel()
	parent := receivePack()
	if parent == "" || lookAtProcess(parent) != lifeRunning {
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
		want    life
	}{
		"another boot":                   {with(0, "5f0d4f5b-3f5a-4ad2-8d29-2f1ea3f0c0de"), lifeUnknown},
		"another start":                  {with(3, "1"), lifeEnded},
		"no such process":                {with(2, "4194305"), lifeEnded}, // above the kernel's limit
		"another namespace, not to know": {with(1, "pid:[1]"), lifeUnknown},
		"nothing":                        {"", lifeUnknown},
		"nonsense":                       {"a/b", lifeUnknown},
	} {
		if got := lookAtProcess(c.process); got != c.want {
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
	if process == "" || lookAtProcess(process) != lifeRunning || lookAtProcess(thisProcess()) != lifeRunning {
		t.Errorf("%q has ended", process)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if lookAtProcess(process) != lifeEnded {
		t.Errorf("%q has not ended", process)
	}
}
