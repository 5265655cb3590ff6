package install

// IsScript tells a script that install writes.
func IsScript(text, name string) bool { return isScript(text, name) }

// Script is the text of an installed hook.
func Script(program, name string, earlier bool) string { return script(program, name, earlier) }

// Exchange sets a hook aside on file systems and for files where there is no second name for a file.
func Exchange(hook, aside, temporary string, step func(string)) error {
	return exchange(hook, aside, temporary, step)
}

// What a hook's text gives away.
var (
	RunsDirectory = runsDirectory
	RunsSiblings  = runsSiblings
	UsesName      = usesName
)
