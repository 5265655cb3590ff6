package mgmt

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxMetadata bounds a metadata.yaml in bytes: one has some hundred, and the time to parse YAML grows with the square
// of how many keys it has.
const maxMetadata = 32 << 10

// metadata is what mgmt reads of a metadata.yaml. Fields that are absent have mgmt's defaults.
type metadata struct {
	Main            string    `yaml:"main"`
	Path            string    `yaml:"path"`
	Files           string    `yaml:"files"`
	License         string    `yaml:"license"`
	ParentPathBlock bool      `yaml:"parentpathblock"`
	Metadata        *metadata `yaml:"metadata"` // mgmt writes null
}

// parseMetadata gives the entry file that a metadata.yaml names: a clean path in the tree. It refuses what mgmt's own
// reader refuses ([code], lang/interfaces/metadata.go), and a path that leaves the tree.
func parseMetadata(text []byte) (main string, err error) {
	if !utf8.Valid(text) {
		return "", errors.New("it is not UTF-8")
	}
	m := metadata{Main: defaultMain}
	if err := yaml.Unmarshal(text, &m); err != nil {
		return "", errors.New(brief(err))
	}
	switch {
	case m.Main == "":
		return "", errors.New("its main is empty")
	case strings.HasPrefix(m.Main, "/") || strings.HasSuffix(m.Main, "/"):
		return "", fmt.Errorf("its main %q is not a file's relative path", m.Main)
	}
	for _, dir := range []struct{ key, value string }{{"path", m.Path}, {"files", m.Files}} {
		if dir.value != "" && (strings.HasPrefix(dir.value, "/") || !strings.HasSuffix(dir.value, "/")) {
			const is = "a directory's relative path with a slash at its end"
			return "", fmt.Errorf("its %s %q is not %s", dir.key, dir.value, is)
		}
	}
	clean := path.Clean(m.Main) // as mgmt does
	if clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("its main %q is not a file in the tree", m.Main)
	}
	return clean, nil
}

// brief makes one line of a YAML error, which can name thousands of places.
func brief(err error) string {
	const most = 300
	text := strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// makeMetadata gives the text of the metadata.yaml that is added where a tree has none. It names the entry file and
// nothing else. The one that mgmt writes beside a lone file also empties `files`, and then files/ is not found.
func makeMetadata(main string) ([]byte, error) {
	if !utf8.ValidString(main) {
		return nil, refuse(main, "is not UTF-8, and the metadata.yaml that names it has to be", "rename it")
	}
	return []byte("main: " + strconv.Quote(main) + "\n"), nil // Go's escapes of valid UTF-8 are also YAML's
}
