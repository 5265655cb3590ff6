package git

import (
	"math"
	"path/filepath"

	"refship/deploy/disk"
)

// readByAll are the files that git reads whatever it is asked for, in a git directory.
var readByAll = []string{"HEAD", "config", "packed-refs", "shallow", "objects/info/alternates", "reftable/tables.list"}

// CheckFiles refuses a repository in which what git reads as a file is none ([disk.Unfit]): for a FIFO git would wait
// for ever. What is not there is git's to judge.
func CheckFiles(gitDir string) error {
	for _, name := range readByAll {
		err := disk.CheckFile(filepath.Join(gitDir, name), math.MaxInt64)
		if _, _, unfit := disk.Unfit(err); unfit {
			return err
		}
	}
	return nil
}
