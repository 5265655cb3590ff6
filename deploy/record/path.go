package record

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"refship/deploy/fault"
	"refship/deploy/tree"
)

// MaxPath is how long a path of a tree may be: what a Linux file system can hold, in bytes.
const MaxPath = 4095

// CheckPath checks a path in a tree as a user writes it: "", or a clean relative path of UTF-8, elements joined with
// "/".
func CheckPath(path string) error {
	bad := !utf8.ValidString(path) || len(path) > MaxPath
	for element := range strings.SplitSeq(path, "/") {
		bad = bad || path != "" && tree.CheckName(element) != nil
	}
	if !bad {
		return nil
	}
	return fault.New(fault.Refused, fmt.Sprintf("path %q is not a path inside a tree", path[:min(len(path), MaxPath)]),
		"a path is relative and has no empty, '.', '..' or '.git' element, such as sites/main; "+
			"leave it out for the whole tree")
}
