package install_test

import (
	"testing"

	"refship/hooks/install"
)

func TestWhatTextsGiveAway(t *testing.T) {
	t.Parallel()
	type rules struct{ directory, siblings, name bool }
	for name, c := range map[string]struct {
		text string
		want rules
	}{
		"Gitea": {"hookname=$(basename $0)\nfor hook in ${GIT_DIR}/hooks/${hookname}.d/*; do\n",
			rules{true, false, true}},
		"quoted":           {"for p in \"$GIT_DIR/hooks/$name.d\"/*; do\n", rules{true, false, false}},
		"own name":         {"for p in \"${0##*/}.d/\"*; do\n", rules{true, false, true}},
		"own path":         {"for p in \"$0.d\"/*; do\n", rules{true, false, true}},
		"run-parts":        {"exec run-parts --arg=x \"$0.d\"\n", rules{true, false, true}},
		"run-parts fixed":  {"run-parts hooks/pre-receive.d/\n", rules{true, false, false}},
		"command":          {"for p in hooks/\"$(basename \"$0\")\".d/*; do\n", rules{true, false, true}},
		"another's":        {"for f in /etc/git-site.d/*; do . \"$f\"; done\n", rules{}},
		"another's parts":  {"run-parts /etc/git-site.d\n", rules{}},
		"another hook's":   {"for p in hooks/post-receive.d/*; do\n", rules{}},
		"some of it":       {"for p in \"$0.d\"/*.sh; do\n", rules{false, false, true}},
		"fixed name":       {"for p in hooks/pre-receive.d/*; do\n", rules{true, false, false}},
		"gitolite":         {"for h in $0.*; do\n    [ -x $h ] || continue\n", rules{false, true, true}},
		"braces":           {"for h in \"${0}\".*; do\n", rules{false, true, true}},
		"comment":          {"# once: for p in pre-receive.d/*\n\t# $0.* and $0\nexit 0\n", rules{}},
		"comment behind":   {"exit 0 # not: for p in pre-receive.d/*\n", rules{}},
		"another setting":  {"git config hooks.denyLargeFiles\n. /etc/profile.d/git.sh\n", rules{}},
		"asks for itself":  {"cd \"$(dirname \"$0\")\"\n", rules{false, false, true}},
		"asks bash":        {"cd \"${BASH_SOURCE%/*}\"\n", rules{false, false, true}},
		"no script at all": {"\x7fELF\x00", rules{}},
	} {
		got := rules{install.RunsDirectory(c.text, "pre-receive"), install.RunsSiblings(c.text), install.UsesName(c.text)}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
