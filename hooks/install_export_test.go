package hooks

// IsScript tells a script that install writes.
func IsScript(text, name string) bool { return isScript(text, name) }

// Script is the text of an installed hook.
func Script(program, name string, earlier bool) string { return script(program, name, earlier) }

// WithoutRules takes the refship sections out of a config.
func WithoutRules(text []byte) ([]byte, bool) { return withoutRules(text) }

// Exchange sets a hook aside on file systems and for files where there is no second name for a file.
func Exchange(hook, aside, temporary string, step func(string)) error {
	return exchange(hook, aside, temporary, step)
}

// ConfigEntries reads a config, as git config -z --list shows it.
func ConfigEntries(text []byte) (entries string, ok bool) {
	l := &configLexer{text: text}
	for {
		if _, more := l.header(); !more {
			return entries, !l.failed
		}
		name := l.section + "."
		if l.hasSub {
			name += l.sub + "."
		}
		for l.entry() {
			entries += name + l.key + "\n" + l.value + "\x00"
		}
	}
}
