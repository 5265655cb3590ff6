package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"refship/deploy/fault"
)

// maxFile is more than any file of a site has, in bytes.
const maxFile = 1 << 20

const temporarySuffix = ".refship-tmp"

// temporaryOf is a new name for what will be renamed to base.
func temporaryOf(base string) string {
	return "." + base + "." + strconv.FormatUint(rand.Uint64(), 10) + temporarySuffix
}

func isTemporaryOf(base, name string) bool {
	return strings.HasPrefix(name, "."+base+".") && strings.HasSuffix(name, temporarySuffix)
}

// removeTemporary removes what a killed process left beside base.
func removeTemporary(dir *os.Root, base string) error {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isTemporaryOf(base, e.Name()) {
			if err := remove(dir, e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes a file, and is done when that is on disk. That it is not there is no error.
func remove(dir *os.Root, name string) error {
	switch err := dir.Remove(name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return syncDir(dir, filepath.Dir(name))
}

// syncDir puts the names of a directory on disk.
func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeJSON writes a file as a whole or not at all, on disk when it returns.
func writeJSON(dir *os.Root, name string, value any, mode fs.FileMode) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return writeFile(dir, name, mode, func(w io.Writer) error {
		_, err := w.Write(append(encoded, '\n'))
		return err
	})
}

// writeFile is writeJSON of any content.
func writeFile(dir *os.Root, name string, mode fs.FileMode, content func(io.Writer) error) error {
	temporary := filepath.Join(filepath.Dir(name), temporaryOf(filepath.Base(name)))
	f, err := dir.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	err = content(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		_ = dir.Remove(temporary) // err says what went wrong
		return err
	}
	return syncDir(dir, filepath.Dir(name))
}

// readJSON reads such a file; found is false if there is none.
func readJSON(dir *os.Root, name string, value any) (found bool, err error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	encoded, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(encoded, value); err != nil {
		return false, fault.New(fault.Failed, fmt.Sprintf("read %s: %v", filepath.Join(dir.Name(), name), err),
			"something else has changed it, or its disk is broken: see what it should hold, or remove it")
	}
	return true, nil
}
