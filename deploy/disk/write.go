package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// temporarySuffix ends the names of temporary files.
const temporarySuffix = ".refship-tmp"

// IsTemporary tells by its name a temporary file of [WriteFile], [WriteTemporary] or [CreateTemporary].
func IsTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.HasSuffix(name, temporarySuffix)
}

// WriteFile makes or replaces a file, as a whole or not at all. The file has exactly that mode.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	temporary, err := WriteTemporary(path, data, mode)
	if err != nil {
		return err
	}
	if err := Rename(temporary, path); err != nil {
		_ = os.Remove(temporary) // it is gone if only the sync failed
		return err
	}
	return nil
}

// WriteTemporary is the first half of [WriteFile]: it writes a new file beside path, on disk when it returns, and gives
// its name. The caller renames or removes it.
func WriteTemporary(path string, data []byte, mode fs.FileMode) (name string, err error) {
	f, err := CreateTemporary(path)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name()) // err says what went wrong
		return "", err
	}
	return f.Name(), nil
}

// CreateTemporary makes a new, empty file beside path, with mode 0600, for what is too large to be in memory. The
// caller writes, syncs and closes it, and renames it to path or removes it.
func CreateTemporary(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+temporarySuffix)
}

// RemoveTemporary removes the temporary files that crashes left beside path. The caller makes sure that no other
// process writes path meanwhile. Nothing happens if the directory does not exist.
func RemoveTemporary(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isTemporaryOf(filepath.Base(path), e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// isTemporaryOf tells a temporary file for a file of that name, and not for one whose name merely begins so.
func isTemporaryOf(name, temporary string) bool {
	random, ok := strings.CutPrefix(temporary, "."+name+".")
	if !ok {
		return false
	}
	random, ok = strings.CutSuffix(random, temporarySuffix)
	return ok && strings.Trim(random, "0123456789") == ""
}

// Remove removes a file or an empty directory. That it does not exist is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Sync(filepath.Dir(path))
}

// Rename gives a file or directory another name in the same directory, and replaces the file that had it.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return Sync(filepath.Dir(to))
}

// Mkdir makes a directory with exactly that mode. made is false if it was there.
func Mkdir(path string, mode fs.FileMode) (made bool, err error) {
	err = os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return true, err
	}
	return true, Sync(filepath.Dir(path))
}

// MkdirAll makes a directory and those above it that are missing, each with exactly that mode.
func MkdirAll(path string, mode fs.FileMode) error {
	_, err := Mkdir(path, mode)
	if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
		return err
	}
	if err := MkdirAll(filepath.Dir(path), mode); err != nil {
		return err
	}
	_, err = Mkdir(path, mode)
	return err
}

// Sync puts a file's content on disk, or a directory's names.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// IsAt tells whether an open file is the one that its name leads to; a symbolic link leads nowhere.
func IsAt(f *os.File) bool { return isAt(f, os.Lstat) }

func isAt(f *os.File, stat func(string) (fs.FileInfo, error)) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := stat(f.Name())
	return err == nil && os.SameFile(mine, there)
}

// RemoveAll removes a directory with all that is in it, also where the rights to the directories in it were taken away.
func RemoveAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // RemoveAll names what is left
		if err == nil && e.IsDir() { // before it is read
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return os.RemoveAll(dir)
}
