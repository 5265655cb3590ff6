package repos

import (
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// CheckName refuses what no repository can be called: see text.BadRepositoryName.
func CheckName(name string) error { return nameError(name, text.BadRepositoryName(name)) }

// NameFromPath is the name of the repository that a client asks for. For ssh://host/config git sends "/config", for
// host:config "config": exactly one leading slash and a trailing ".git" are dropped, nothing else is repaired.
func NameFromPath(path string) (string, error) {
	name := strings.TrimPrefix(path, "/")
	if strings.HasPrefix(name, "~") {
		return "", nameError(path, "there are no home directories here")
	}
	name = strings.TrimSuffix(name, ".git")
	return name, nameError(path, text.BadRepositoryName(name)) // what was asked for, not what became of it
}

func nameError(asked, why string) error {
	if why == "" {
		return nil
	}
	return fault.New(fault.Usage, text.Mention(text.Clip(asked))+" is no repository name: "+why,
		"a name looks like config or team/config, as in ssh://git@HOST:PORT/config")
}
