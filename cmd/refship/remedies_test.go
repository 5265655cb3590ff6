package main

import (
	"fmt"
	"testing"

	"refship/deploy/fault"
	"refship/hooks/install"
	"refship/hooks/target"
)

// Commands in remedies can be pasted.
func TestRemediesOfHooks(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]*fault.Error{
		"put it back, or take the hooks out and install them again: refship hook uninstall '/a b'": {
			Reason: install.ReasonEarlierGone, About: []string{"/a b"},
		},
		"sudo -u git refship hook install '/a b'":           {Reason: install.ReasonOwner, About: []string{"git", "install", "/a b"}},
		"refship hook uninstall '/a b'; then install again": {Reason: install.ReasonReinstall, About: []string{"/a b"}},
		"deploy it, then try again: refship deploy --repo '/a b' --rev refs/heads/main --target www": {
			Reason: install.ReasonUndeployed, About: []string{"/a b", "refs/heads/main", "www"},
		},
		"it has no target yet: refship repo target add REPO NAME makes one": {
			Reason: target.ReasonNone, Remedy: "it has no target yet",
		},
	} {
		if got := remedyOf(fmt.Errorf("install hooks: %w", err)); got != want {
			t.Errorf("%s: %q, want %q", err.Reason, got, want)
		}
	}
}
