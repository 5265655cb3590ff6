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

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/hooks/target"
)

const (
	manifestName   = "refship.json"
	manifestFormat = 1
	maxState       = 64 << 20 // bounds a file of state that is read, in bytes: a directory of hooks may have many users
)

// manifest says what of a directory of hooks is refship's.
type manifest struct {
	Format       int             `json:"format"`
	Program      string          `json:"program"`
	Made         bool            `json:"made"` // the directory did not exist before
	Hooks        []*manifestHook `json:"hooks"`
	Repositories []string        `json:"repositories"` // git directories; one that the hooks lie in is relative to them
}

// manifestHook is one installed hook.
type manifestHook struct {
	Name    string       `json:"name"`              // "pre-receive"
	File    string       `json:"file"`              // "pre-receive" or "pre-receive.d/zz-refship"
	SHA256  []string     `json:"sha256"`            // of the script; while it is replaced of both, the new one last
	Earlier *earlierHook `json:"earlier,omitempty"` // nil: there was no earlier hook
}

// earlierHook is what an earlier hook was like when it was set aside.
type earlierHook struct {
	SHA256 string `json:"sha256"`         // of its text, or of where a symbolic link leads to
	Mode   string `json:"mode"`           // "0755"
	Link   bool   `json:"link,omitempty"` // it is a symbolic link
}

// installation is what <GIT_DIR>/refship/installed.json says.
type installation struct {
	Format int          `json:"format"`
	Hooks  string       `json:"hooks"` // the directory, relative to the git directory if it is in there
	Config configBefore `json:"config"`
}

// configBefore is what the git config was without refship's sections.
type configBefore struct {
	SHA256  string `json:"sha256"`
	Newline bool   `json:"newline"` // it ended with a line feed, or was empty
}

// readManifest reads a directory's manifest; nil if it has none.
func readManifest(dir string) (*manifest, error) {
	path := filepath.Join(dir, manifestName)
	var m manifest
	found, err := readState(path, &m, &m.Format)
	if err != nil || !found {
		return nil, err
	}
	if m.Program == "" || slices.Contains(m.Hooks, nil) {
		return nil, fmt.Errorf("read %s: it is not whole", path)
	}
	return &m, nil
}

func installationPath(gitDir string) string {
	return filepath.Join(gitDir, "refship", "installed.json")
}

// readInstallation reads what install left in a git directory; nil if it left nothing.
func readInstallation(gitDir string) (*installation, error) {
	var i installation
	found, err := readState(installationPath(gitDir), &i, &i.Format)
	if err != nil || !found {
		return nil, err
	}
	return &i, nil
}

// readState reads a JSON file strictly; false: it does not exist. format is the field in it that says which format it
// has.
func readState(path string, into any, format *int) (found bool, err error) {
	text, err := disk.ReadFile(path, maxState)
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
	if *format != manifestFormat {
		return false, fault.Refuse("use the refship that wrote it",
			"%s has format %d, which this refship does not know", path, *format)
	}
	return true, nil
}

// writeState writes a JSON file, unless it says so already.
func writeState(path string, state any, mode fs.FileMode) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(state); err != nil {
		return err
	}
	if have, err := disk.ReadFile(path, maxState); err == nil && bytes.Equal(have, b.Bytes()) {
		return nil
	}
	return disk.WriteFile(path, b.Bytes(), mode)
}

// hook gives what the manifest says of one; nil: nothing, or there is no manifest.
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

// without gives the repositories of a directory of hooks without one, and without those that no longer have refship
// settings. One that does not exist may have been moved, or its disk is not mounted: it keeps the hooks.
func (m *manifest) without(dir, gitDir string) []string {
	if m == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m.Repositories), func(r string) bool {
		path := resolve(dir, r)
		if path == gitDir {
			return true
		}
		text, err := disk.ReadFile(filepath.Join(path, "config"), target.MaxConfig)
		if err != nil {
			return false
		}
		rest, ok := target.WithoutSections(text)
		return ok && bytes.Equal(rest, text)
	})
}

// withoutMoved gives the repositories without the one that does not exist, if it is exactly one: the caller has found
// it in another place.
func (m *manifest) withoutMoved(dir string) []string {
	there := slices.DeleteFunc(slices.Clone(m.Repositories), func(r string) bool { return isGone(resolve(dir, r)) })
	if len(there) == len(m.Repositories)-1 {
		return there
	}
	return m.Repositories
}

// isGone tells whether a file does not exist. One that cannot be looked at may exist.
func isGone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// names are how a git directory and its directory of hooks name each other. Where the hooks are in the git directory
// both names are relative, and both can be moved together.
func names(gitDir, hooks string) (hooksName, gitDirName string) {
	hooksName, err := filepath.Rel(gitDir, hooks)
	if err != nil || !filepath.IsLocal(hooksName) {
		return hooks, gitDir
	}
	if gitDirName, err = filepath.Rel(hooks, gitDir); err != nil {
		return hooks, gitDir
	}
	return hooksName, gitDirName
}

func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// sameDir tells two names of one directory.
func sameDir(a, b string) bool {
	if a == b {
		return true
	}
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
