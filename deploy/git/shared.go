package git

import (
	"io/fs"
	"os"
	"path/filepath"
)

// SharedMode is the mode of directories that refship makes in the repository at gitDir: that of its objects. An account
// that may write objects there (core.sharedRepository) may push.
func SharedMode(gitDir string) (fs.FileMode, error) {
	info, err := os.Stat(filepath.Join(gitDir, "objects"))
	if err != nil {
		return 0, err
	}
	return info.Mode().Perm() | info.Mode()&fs.ModeSetgid | 0o700, nil
}

// Readable is the mode of a file in a directory of this mode: those who can enter the directory can read the file, and
// only its owner can write it.
func Readable(dir fs.FileMode) fs.FileMode {
	mode := fs.FileMode(0o600)
	for _, x := range []fs.FileMode{0o010, 0o001} {
		if dir&x != 0 {
			mode |= x << 2
		}
	}
	return mode
}

// Executable is Readable of a program.
func Executable(dir fs.FileMode) fs.FileMode {
	mode := Readable(dir)
	return mode | (mode&0o444)>>2
}
