package git

import (
	"fmt"
	"path/filepath"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// The variables of a push's quarantine, as git sets them for pre-receive (git-receive-pack(1)).
const (
	varObjects    = "GIT_OBJECT_DIRECTORY"
	varAlternates = "GIT_ALTERNATE_OBJECT_DIRECTORIES"
	varQuarantine = "GIT_QUARANTINE_PATH"
)

// incomingPrefixes start the names of the quarantine folders below objects, of git since 2.34 and before
// (git-receive-pack(1), "quarantine environment"; tmp-objdir.c).
var incomingPrefixes = []string{"tmp_objdir-incoming-", "incoming-"}

// IsQuarantine tells whether a folder below objects has the name of a quarantine.
func IsQuarantine(name string) bool {
	for _, prefix := range incomingPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// QuarantineEnv gives the variables with which git sees the push's new objects, or none if the push brought none.
// The folder is what the hook says only if it is one that git makes for a push to this very repository; the
// alternates are not taken from the hook at all, since there can be but one.
func QuarantineEnv(gitDir string, vars map[string]string) ([]string, error) {
	folder := vars[varQuarantine]
	if folder == "" && vars[varObjects] == "" && vars[varAlternates] == "" {
		return nil, nil
	}
	objects, err := filepath.EvalSymlinks(filepath.Join(gitDir, "objects"))
	if err != nil {
		return nil, fmt.Errorf("find objects: %w", disk.WithoutDir(err))
	}
	wrong := &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("quarantine %q is not one of this repository", text.Clip(folder)),
		Remedy: "push again; git sets these variables, nothing else may",
	}
	if !filepath.IsAbs(folder) || filepath.Clean(vars[varObjects]) != filepath.Clean(folder) {
		return nil, wrong
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil || filepath.Dir(real) != objects || !IsQuarantine(filepath.Base(real)) {
		return nil, wrong
	}
	return []string{
		varObjects + "=" + real,
		varAlternates + "=" + quotePath(objects),
	}, nil
}

// quotePath writes a path as an element of GIT_ALTERNATE_OBJECT_DIRECTORIES (git(1)).
func quotePath(path string) string {
	if !strings.HasPrefix(path, `"`) && !strings.Contains(path, ":") {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}
