package text

import (
	"fmt"
	"slices"
	"strings"
)

// maxRepositoryName is the longest name of a repository, in bytes.
const maxRepositoryName = 100

// BadRepositoryName says why a text cannot be a repository's name, as in "it is empty"; "" if it can be one. A name
// is elements of [A-Za-z0-9._-] with a slash between them, at most 100 bytes in all. No element starts with "." or
// "-", ends in ".git" or ".lock", or is deploy, fs, storage or refship: a default namespace carries the name, and
// below a namespace these words mean something.
func BadRepositoryName(name string) (why string) {
	if len(name) > maxRepositoryName {
		return fmt.Sprintf("it is %d bytes (limit %d)", len(name), maxRepositoryName)
	}
	if name == "" {
		return "it is empty"
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "":
			return "it has an empty element"
		case element[0] == '.' || element[0] == '-':
			return "an element starts with " + element[:1]
		case strings.HasSuffix(element, ".git"), strings.HasSuffix(element, ".lock"):
			return "an element ends in .git or .lock"
		case slices.Contains([]string{"deploy", "fs", "storage", "refship"}, element):
			return "the element " + element + " is reserved"
		case strings.ContainsFunc(element, notInName):
			return "it has a character other than A-Z a-z 0-9 . _ - /"
		}
	}
	return ""
}

func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return r != '.' && r != '_' && r != '-'
}
