package target

import (
	"fmt"
	"path/filepath"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
)

// ReadFormat reads the object format of the repository at gitDir out of its config, where git itself finds it
// (git-config(1), extensions.objectFormat): to ask git would take longer than all the rest of a session's beginning.
func ReadFormat(gitDir string) (git.Format, error) {
	text, err := disk.ReadFile(filepath.Join(gitDir, "config"), MaxConfig)
	if err != nil {
		return 0, fmt.Errorf("read the repository's config: %w", disk.WithoutDir(err))
	}
	f, l := git.FormatSHA1, &lexer{text: text}
	for {
		if _, more := l.header(); !more {
			break
		}
		for l.entry() {
			if l.section != "extensions" || l.hasSub || l.key != "objectformat" {
				continue
			}
			if f, err = git.ParseFormat(l.value); err != nil {
				return 0, fault.Refuse("see git help config, extensions.objectFormat", "the repository's config: %v", err)
			}
		}
	}
	return f, nil
}
