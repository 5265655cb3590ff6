package tree

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrDotGit: a name is ".git", or some file system takes it for that.
var ErrDotGit = errors.New("is git's own name, or some file system takes it for that")

// isDotGit tells whether some file system takes a name for ".git", whose content git runs: in upper or lower case; on
// HFS+ with code points that it ignores; on NTFS with spaces and dots behind it, as the short name "git~1", as a stream
// of it ("…:"), or after a backslash. It is what git refuses: is_hfs_dotgit and is_ntfs_dotgit of git's sources.
func isDotGit(name string) bool {
	if isHFSDotGit(name) {
		return true
	}
	for element := range strings.SplitSeq(name, `\`) {
		if isNTFSDotGit(element) {
			return true
		}
	}
	return false
}

// isHFSDotGit looks no further than a byte that is not UTF-8, as git does.
func isHFSDotGit(name string) bool {
	for i, r := range name {
		if _, size := utf8.DecodeRuneInString(name[i:]); r == utf8.RuneError && size == 1 {
			name = name[:i]
			break
		}
	}
	return strings.EqualFold(strings.Map(dropIgnored, name), ".git")
}

// dropIgnored drops what HFS+ ignores in names.
func dropIgnored(r rune) rune {
	switch {
	case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
		return -1
	}
	return r
}

func isNTFSDotGit(name string) bool {
	for _, start := range []string{".git", "git~1"} {
		if len(name) < len(start) || !strings.EqualFold(name[:len(start)], start) {
			continue
		}
		rest, _, _ := strings.Cut(name[len(start):], ":")
		if strings.Trim(rest, ". ") == "" {
			return true
		}
	}
	return false
}

// Folded is a path as a file system has it that takes upper and lower case for the same: two paths with the same Folded
// cannot both be on it.
func Folded(path string) string {
	return strings.ToLower(strings.ToUpper(path)) // so that ſ, s and S are one
}
