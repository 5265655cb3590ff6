package mgmt

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

// Error says that mgmt could not run what is to be deployed.
type Error struct {
	Path   string // in the tree; "" if What is about all of it
	What   string // a sentence; with a Path what follows it in one
	Remedy string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.What
	}
	return quote(e.Path) + " " + e.What
}

// Hint is the remedy.
func (e *Error) Hint() string { return e.Remedy }

// quote writes a path or a link's target, not more of it than fits a few lines.
func quote(path string) string {
	const most = 300
	if len(path) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(path[:most], ""))
	}
	return fmt.Sprintf("%q", path)
}

// size writes a number of bytes for reading, and exactly.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(n)), n)
}
