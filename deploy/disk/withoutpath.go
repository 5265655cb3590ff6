package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"refship/deploy/fault"
)

// WithoutDir cuts an error of the file system down to the file's name: where the server keeps a repository is not for
// those who push to it.
func WithoutDir(err error) error {
	var one *fs.PathError
	var two *os.LinkError
	path, what, isUnfit := Unfit(err)
	switch {
	case isUnfit:
		return unfit(filepath.Base(path), what, fault.RemedyOf(err))
	case errors.As(err, &one):
		return fmt.Errorf("%s %s: %w", one.Op, filepath.Base(one.Path), one.Err)
	case errors.As(err, &two):
		return fmt.Errorf("%s %s: %w", two.Op, filepath.Base(two.New), two.Err)
	}
	return err
}
