package target

// ConfigEntries reads a config, as git config -z --list shows it.
func ConfigEntries(text []byte) (entries string, ok bool) {
	l := &lexer{text: text}
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
