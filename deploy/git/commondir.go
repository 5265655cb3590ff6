package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"refship/deploy/disk"
)

// CommonDir is the repository's own directory where git has set GIT_DIR: that of a linked work tree is another, which
// names the one that all work trees share (gitrepository-layout(5), commondir).
func CommonDir(gitDir string) (string, error) {
	dir, err := filepath.Abs(gitDir)
	if err != nil {
		return "", fmt.Errorf("find repository: %w", err)
	}
	named, err := os.ReadFile(filepath.Join(dir, "commondir"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, nil
	case err != nil:
		return "", fmt.Errorf("find repository: %w", disk.WithoutDir(err))
	}
	common := strings.TrimSuffix(string(named), "\n")
	if !filepath.IsAbs(common) {
		common = filepath.Join(dir, common)
	}
	return filepath.Clean(common), nil
}
