package git

import (
	"testing"

	"refship/deploy/fault"
)

func TestOldGit(t *testing.T) {
	for said, ok := range map[string]bool{
		"git version 2.36.0\n": true, "git version 2.39.5 (Apple Git-154)\n": true, "git version 3.0.0": true,
		"git version 2.35.9": false, "git version 1.99": false, "hello": false, "": false,
	} {
		if err := checkVersion(said); (err == nil) != ok {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func TestNoGit(t *testing.T) {
	if err := CheckInstalled(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := CheckInstalled(t.Context()); fault.RemedyOf(err) != installRemedy {
		t.Errorf("got %v", err)
	}
}
