package install

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"refship/deploy/git"
)

const (
	earlierSuffix  = ".before-refship" // of the hook that was there
	dispatchSuffix = ".d"              // of a dispatcher's directory
	dispatched     = "zz-refship"      // our hook in there
)

// hookNames are the hooks in the order in which they are installed. Taking them out goes the other way.
var hookNames = []string{git.PostReceive, git.PreReceive}

// scriptMark is in each of our scripts, of every format.
const scriptMark = "refship hook uninstall"

// script is an installed hook's text: it becomes PROGRAM hook run --hook NAME [--earlier PATH] -- ARGUMENT…, in the
// git directory, with git's standard input and environment. Where PROGRAM is gone it refuses, or, after the refs have
// moved, says so and runs the earlier hook; a repository whose config says nothing of refship is let through as if the
// hook were not there, since hook directories can be shared.
func script(program, name string, earlier bool) string {
	quoted := "'" + strings.ReplaceAll(program, "'", `'\''`) + "'"
	lines := []string{
		"#!/bin/sh",
		"# Put here by: refship hook install. It hands what is pushed to refship, which deploys it.",
		"# Taken out by: " + scriptMark + ". What it deploys, and where to, is in the repository's git config.",
		"program=" + quoted,
	}
	option, next := "", "exit 0"
	if earlier {
		lines = append(lines, `earlier="${0%/*}/`+name+earlierSuffix+`" # the hook that was here before`)
		option, next = ` --earlier "$earlier"`, "[ -x \"$earlier\" ] && exec \"$earlier\" \"$@\"\nexit 0"
	}
	lines = append(lines,
		`if [ -s "$program" ] && [ -x "$program" ] && ! [ -d "$program" ]; then`,
		"\texec \"$program\" hook run --hook "+name+option+` -- "$@"`,
		"fi",
		`git config --local --get-regexp '^refship\.' >/dev/null 2>&1`,
		`if [ $? -ne 1 ]; then # 1: the repository has no refship settings, and nothing to deploy`,
	)
	if name == git.PreReceive {
		lines = append(lines,
			"\tprintf 'refship: refused: %s is not there, or cannot be run\\n' \"$program\" >&2",
			"\techo 'refship: hint: who runs this repository: put the program there, run refship hook install again, or refship hook uninstall' >&2",
			"\texit 1",
		)
	} else {
		lines = append(lines,
			"\tprintf 'refship: pushed, not deployed: %s is not there, or cannot be run\\n' \"$program\" >&2",
			"\techo 'refship: hint: who runs this repository: put the program there, then refship deploy --repo DIR --rev REV' >&2",
		)
		if !earlier {
			lines = append(lines, "\texit 1")
		}
	}
	return strings.Join(append(lines, "fi", next), "\n") + "\n"
}

var programLine = regexp.MustCompile(`(?m)^program='((?:[^'\n]|'\\'')+)'$`)

// scriptProgram gives the program that a script of ours runs, "" if it is none.
func scriptProgram(text string) string {
	m := programLine.FindStringSubmatch(text)
	if m == nil || !strings.Contains(text, scriptMark) {
		return ""
	}
	return strings.ReplaceAll(m[1], `'\''`, "'")
}

// wantsEarlier tells whether a script of ours runs the hook that was there before.
func wantsEarlier(text string) bool { return strings.Contains(text, "\nearlier=") }

// isScript tells a text that script writes.
func isScript(text, name string) bool {
	program := scriptProgram(text)
	return program != "" && text == script(program, name, wantsEarlier(text))
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// siblingNames is in hooks that run others whose names begin with their own, such as gitolite's "for h in $0.*".
var siblingNames = regexp.MustCompile(`\$0\.|\$\{0\}\.|\$0"\.`)

var argumentZero = regexp.MustCompile(`\$0\b|\$\{0\b|BASH_SOURCE`)
