package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/hooks/target"
)

const (
	manifestName   = "refship.json"
	manifestFormat = 1
)

// manifest says what of a directory of hooks is ours.
type manifest struct {
	Format       int             `json:"format"`
	Program      string          `json:"program"`
	Made         bool            `json:"made"` // the directory was not there before
	Hooks        []*manifestHook `json:"hooks"`
	Repositories []string        `json:"repositories"` // git directories; one that the hooks lie in is relative to them
}

// manifestHook is one hook of ours.
type manifestHook struct {
	Name   string   `json:"name"`   // "pre-receive"
	File   string   `json:"file"`   // "pre-receive" or "pre-receive.d/zz-refship"
	SHA256 []string `json:"sha256"` // what we wrote; while it is replaced also what comes, last
	// Earlier is the hook that was there, nil if none was.
	Earlier *earlierHook `json:"earlier,omitempty"`
}

// earlierHook is what an earlier hook was like when it was set aside.
type earlierHook struct {
	SHA256 string `json:"sha256"`         // of its text, or of where a symbolic link points to
	Mode   string `json:"mode"`           // "0755"
	Link   bool   `json:"link,omitempty"` // it is a symbolic link
}

// readManifest reads a directory's manifest; nil if it has none.
func readManifest(dir string) (*manifest, error) {
	var m manifest
	switch found, err := readState(filepath.Join(dir, manifestName), &m); {
	case err != nil || !found:
		return nil, err
	case m.Format != manifestFormat:
		return nil, unknownFormat(filepath.Join(dir, manifestName), m.Format)
	}
	if m.Program == "" || slices.Contains(m.Hooks, nil) {
		return nil, fmt.Errorf("read %s: it is not whole", filepath.Join(dir, manifestName))
	}
	return &m, nil
}

func unknownFormat(path string, format int) error {
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("%s has format %d, which this refship does not know", path, format),
		Remedy: "use the refship that wrote it",
	}
}

// readState reads a JSON file of ours strictly; false: it is not there.
func readState(path string, into any) (found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read %s: text after its end", path)
	}
	return true, nil
}

// writeState writes a JSON file of ours, unless it says so already.
func writeState(path string, state any, mode fs.FileMode) (changed bool, err error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(state); err != nil {
		return false, err
	}
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, b.Bytes()) {
		return false, nil
	}
	if err := disk.RemoveTemporary(path); err != nil { // of an install that died
		return false, err
	}
	return true, disk.WriteFile(path, b.Bytes(), mode)
}

func (m *manifest) hook(name string) *manifestHook {
	if m == nil {
		return nil
	}
	for _, h := range m.Hooks {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// setHook puts a hook in the place of the one of that name.
func (m *manifest) setHook(h *manifestHook) {
	if at := slices.IndexFunc(m.Hooks, func(o *manifestHook) bool { return o.Name == h.Name }); at >= 0 {
		m.Hooks[at] = h
		return
	}
	m.Hooks = append(m.Hooks, h)
	slices.SortFunc(m.Hooks, func(a, b *manifestHook) int { return strings.Compare(a.Name, b.Name) })
}

// pathFrom names a file from a directory on, relative if it is in there or above: so both can be moved together.
func pathFrom(dir, path string, inside bool) string {
	if inside {
		if relative, err := filepath.Rel(dir, path); err == nil {
			return relative
		}
	}
	return path
}

func isInside(dir, path string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}

func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// without gives the repositories of a directory of hooks but for one, and but for those that have no refship settings any
// more. One that is not there may have been moved, or its disk is not mounted: it keeps the hooks.
func (m *manifest) without(dir, gitDir string) []string {
	return slices.DeleteFunc(slices.Clone(m.Repositories), func(r string) bool {
		path := resolve(dir, r)
		if path == gitDir {
			return true
		}
		text, err := os.ReadFile(filepath.Join(path, "config"))
		if err != nil {
			return false // it cannot be told
		}
		rest, ok := target.WithoutSections(text)
		return ok && bytes.Equal(rest, text)
	})
}

// moved gives the repositories where one of them has come to another place: without the one that is not there, if it is one.
func (m *manifest) moved(dir string) []string {
	isThere := func(r string) bool {
		_, err := os.Stat(resolve(dir, r))
		return !errors.Is(err, fs.ErrNotExist)
	}
	var there []string
	for _, r := range m.Repositories {
		if isThere(r) {
			there = append(there, r)
		}
	}
	if len(there) == len(m.Repositories)-1 {
		return there
	}
	return m.Repositories
}

// installation is what <GIT_DIR>/refship/installed.json says.
type installation struct {
	Format int          `json:"format"`
	Hooks  string       `json:"hooks"` // the directory, from the git directory on if it is in there
	Config configBefore `json:"config"`
}

// configBefore is what the git config was without refship's sections.
type configBefore struct {
	SHA256  string `json:"sha256"`
	Newline bool   `json:"newline"` // it ended with a line feed, or was empty
}

func installationPath(gitDir string) string {
	return filepath.Join(gitDir, "refship", "installed.json")
}

// readInstallation reads what install left in a git directory; nil if it left nothing.
func readInstallation(gitDir string) (*installation, error) {
	var i installation
	switch found, err := readState(installationPath(gitDir), &i); {
	case err != nil || !found:
		return nil, err
	case i.Format != manifestFormat:
		return nil, unknownFormat(installationPath(gitDir), i.Format)
	}
	return &i, nil
}
