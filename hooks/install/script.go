package install

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"refship/deploy/git"
)

const (
	earlierSuffix  = ".before-refship" // of the earlier hook
	dispatchSuffix = ".d"              // of a dispatcher's directory
	dispatched     = "zz-refship"      // refship's hook in there
)

// scriptMark is in every installed script, of whatever format.
const scriptMark = "refship hook uninstall"

// script is an installed hook's text: it becomes PROGRAM hook run --hook NAME [--earlier PATH] -- ARGUMENT…, in the
// git directory, with git's standard input and environment. Where PROGRAM is gone it refuses, or, after the refs have
// moved, says so and runs the earlier hook. A repository whose config says nothing of refship is let through as if the
// hook did not exist, since hook directories can be shared.
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
	const (
		gone     = `: %s does not exist, or cannot be run\n' "$program" >&2`
		operator = "\techo 'refship: hint: for the operator of this repository: put the program there, "
	)
	if name == git.PreReceive {
		lines = append(lines,
			"\tprintf 'refship: refused"+gone,
			operator+"run refship hook install again, or refship hook uninstall' >&2",
			"\texit 1",
		)
	} else {
		lines = append(lines,
			"\tprintf 'refship: pushed, not deployed"+gone,
			operator+"then refship deploy --repo DIR --rev REV' >&2",
		)
		if !earlier {
			lines = append(lines, "\texit 1")
		}
	}
	return strings.Join(append(lines, "fi", next), "\n") + "\n"
}

// scriptProgram gives the program that an installed script runs, "" if the text is no such script.
func scriptProgram(text string) string {
	_, rest, begins := strings.Cut(text, "\nprogram='")
	quoted, _, ends := strings.Cut(rest, "'\n")
	if !begins || !ends || !strings.Contains(text, scriptMark) {
		return ""
	}
	return strings.ReplaceAll(quoted, `'\''`, "'")
}

// wantsEarlier tells whether an installed script runs an earlier hook.
func wantsEarlier(text string) bool { return strings.Contains(text, "\nearlier=") }

// isScript tells a text that script writes.
func isScript(text, name string) bool {
	program := scriptProgram(text)
	return program != "" && text == script(program, name, wantsEarlier(text))
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// What other hooks do is read from their text by three plain rules. To run one and see would be dangerous, and the
// operator need not be asked: what no rule decides is refused.

// code is a shell script without comments, quotes and braces: "${0##*/}.d"/* becomes $0##*/.d/*.
func code(text string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(" "+strings.TrimSpace(line), " #")
		lines.WriteString(line + "\n")
	}
	return strings.NewReplacer(`"`, "", "'", "", "{", "", "}", "").Replace(lines.String())
}

// runsDirectory tells a script that runs all programs of the directory NAME.d: by a glob, as Gitea's hooks do, or by
// run-parts. NAME stands there itself, or a variable or command gives it.
func runsDirectory(text, name string) bool {
	for line := range strings.Lines(strings.ReplaceAll(code(text), "$0##*/", "$0")) {
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return unicode.IsSpace(r) || r == ';' }) {
			dir, all := strings.CutSuffix(word, dispatchSuffix+"/*")
			if !all && strings.Contains(line, "run-parts") {
				dir, all = strings.CutSuffix(strings.TrimSuffix(word, "/"), dispatchSuffix)
			}
			last := dir[strings.LastIndexByte(dir, '/')+1:]
			if all && (last == name || strings.HasPrefix(last, "$") || strings.HasSuffix(last, ")")) {
				return true
			}
		}
	}
	return false
}

// runsSiblings tells a script that runs the programs beside it whose names begin with its own, as gitolite's hooks do.
func runsSiblings(text string) bool {
	return strings.Contains(strings.ReplaceAll(code(text), "$0"+dispatchSuffix, ""), "$0.")
}

// usesName tells a script that may behave differently under another name.
func usesName(text string) bool {
	return strings.Contains(code(text), "$0") || strings.Contains(text, "BASH_SOURCE")
}
