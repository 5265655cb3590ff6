package mgmt

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// LoneFile gives the files, by name, that mgmt's own command makes of one file, and the entry to lay them out with.
// With lang that is the file and a metadata.yaml that names it, byte for byte as mgmt writes it; with yaml and puppet
// the file alone, under the name that mgmt opens. An error says what is wrong with the name, or with the frontend.
func LoneFile(frontend, name string, content []byte) (files map[string][]byte, entry string, err error) {
	switch frontend {
	case Lang:
		switch {
		case name == metadataName:
			return nil, "", errors.New("it has the name of what mgmt reads beside the code")
		case !utf8.ValidString(name):
			return nil, "", errors.New("its name is not UTF-8, and the metadata.yaml that names it has to be")
		}
		text, err := yaml.Marshal(metadata{Main: name})
		if err == nil {
			_, err = parseMetadata(text)
		}
		if err != nil {
			return nil, "", fmt.Errorf("make metadata.yaml: %w", err)
		}
		return map[string][]byte{name: content, metadataName: text}, "", nil
	case YAML:
		return map[string][]byte{startName: content}, "", nil
	case Puppet:
		return map[string][]byte{manifestName: content}, manifestName, nil
	}
	return nil, "", fmt.Errorf("frontend %s starts with no file", frontend)
}
