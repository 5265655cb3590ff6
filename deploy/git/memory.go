package git

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
)

// FileInPieces is core.bigFileThreshold, in bytes: a file over it goes through git in pieces instead of as a whole,
// unless it comes as a delta.
const FileInPieces = 4 << 20

// baseCache is core.deltaBaseCacheLimit, in bytes: what git keeps of the objects that deltas build upon.
const baseCache = 8 << 20

// MemorySettings are options that keep git from taking more memory than it needs for one client among many. Packs are
// read through windows instead of being mapped as a whole. A second thread would double what resolving deltas takes,
// and saves no time where other clients have the other processors.
func MemorySettings() []string {
	return []string{
		"-c", fmt.Sprintf("core.bigFileThreshold=%d", FileInPieces),
		"-c", fmt.Sprintf("core.deltaBaseCacheLimit=%d", baseCache),
		"-c", "core.packedGitWindowSize=16m",
		"-c", "core.packedGitLimit=64m",
		"-c", "pack.threads=1",
		"-c", "pack.windowMemory=8m",
		"-c", "pack.deltaCacheSize=8m",
	}
}

// IsOutOfMemory tells whether a git ended because it got no more memory.
func IsOutOfMemory(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && outOfMemory([]byte(failed.Said))
}

// outOfMemory tells whether git says that it got no more memory: its limit, if it has one ([LimitMemory]), or else the
// machine's end. It is "Out of memory, malloc failed" of wrapper.c, and what it says of a map or thread without room.
func outOfMemory(said []byte) bool {
	return bytes.Contains(said, []byte("ut of memory")) || bytes.Contains(said, []byte("annot allocate memory")) ||
		bytes.Contains(said, []byte("annot create async thread"))
}

// maxWords is how long what outOfMemory, cannotStore and refusesShallow look for may be, in bytes.
const maxWords = 40

// LimitMemory bounds what a process, and each one that it starts from now on, may take for itself, in bytes. A later
// call can raise it.
func LimitMemory(pid int, bytes int64) error {
	if err := limitMemory(pid, bytes); err != nil {
		return fmt.Errorf("limit git's memory: %w", err)
	}
	return nil
}

// Lower lets others go before a process, and before each one that it starts from now on, where they want a processor
// at the same time: by so many steps of its nice value, of which each is worth a fifth of its part (sched(7)). Only a
// privileged process can take steps back.
func Lower(pid, steps int) error {
	if steps == 0 {
		return nil
	}
	if err := lower(pid, steps); err != nil {
		return fmt.Errorf("lower git's priority: %w", err)
	}
	return nil
}

// limits are what a git gets. The zero value limits nothing.
type limits struct {
	memory int64 // that it may take for itself, in bytes; 0: as many as it likes
	nice   int   // steps of Lower
}

// start starts a git with its limits. It has read nothing by then. In a repository that [CheckFiles] refuses none is
// started.
func (l limits) start(cmd *exec.Cmd) error {
	if cmd.Dir != "" {
		if err := CheckFiles(cmd.Dir); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err := Lower(cmd.Process.Pid, l.nice)
	if err == nil && l.memory > 0 {
		err = LimitMemory(cmd.Process.Pid, l.memory)
	}
	if err != nil {
		_, _ = cmd.Process.Kill(), cmd.Wait() // it did nothing yet
		return err
	}
	return nil
}
