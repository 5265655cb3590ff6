package deploy

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"refship/deploy/fault"
	"refship/deploy/tree"
)

// Repository is a git repository to deploy from.
type Repository = tree.Repository

// OpenRepository opens the repository at a GIT_DIR; see tree.OpenRepository.
func OpenRepository(ctx context.Context, gitDir string, env []string) (*Repository, error) {
	return tree.OpenRepository(ctx, gitDir, env)
}

// CheckPath takes what a Job's Path may be: "" or a clean relative path of UTF-8, elements joined with "/".
func CheckPath(path string) error {
	bad := !utf8.ValidString(path) || len(path) > maxPath
	for element := range strings.SplitSeq(path, "/") {
		bad = bad || path != "" && tree.CheckName(element) != nil
	}
	if !bad {
		return nil
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("path %q is not a path inside a tree", path[:min(len(path), maxPath)]),
		Remedy: "a path is relative and has no empty, '.', '..' or '.git' element, such as sites/main; leave it out for the whole tree",
	}
}
