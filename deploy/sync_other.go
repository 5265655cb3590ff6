//go:build !linux

package deploy

import (
	"os"
	"path/filepath"
)

// syncTree puts every file below a new directory on disk.
func syncTree(dir string) error {
	return filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

// renameNew renames a directory to a name that did not exist a moment ago.
func renameNew(from, to string) error { return os.Rename(from, to) }
