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

// maxCommonDir is more than a path can have, in bytes.
const maxCommonDir = 1 << 16

// CommonDir is the repository's own directory where git has set GIT_DIR: that of a linked work tree is another, which
// names the one that all work trees share (gitrepository-layout(5), commondir).
func CommonDir(gitDir string) (string, error) {
	dir, err := filepath.Abs(gitDir)
	if err != nil {
		return "", fmt.Errorf("find repository: %w", err)
	}
	named, err := disk.ReadFile(filepath.Join(dir, "commondir"), maxCommonDir)
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

// IsDir tells a repository's own directory as git does (is_git_directory in setup.c), without looking into the files.
func IsDir(path string) bool {
	isDir := func(name string) bool {
		info, err := os.Stat(filepath.Join(path, name))
		return err == nil && info.IsDir()
	}
	_, err := os.Lstat(filepath.Join(path, "HEAD")) // once it was a symbolic link
	return err == nil && isDir("objects") && isDir("refs")
}
