package mgmt

import (
	"fmt"
	"strings"
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
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, units := float64(n)/unit, "KMGTPE"
	for value >= unit {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%s %siB (%d bytes)", strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0"), units[:1], n)
}
