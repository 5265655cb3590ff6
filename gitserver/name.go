package gitserver

import (
	"errors"
	"slices"
	"strings"
)

const maxName = 100

// ParseName checks a repository's name: elements of [A-Za-z0-9._-] with a slash between them, none starting with "." or
// "-", none ending in ".git" or ".lock", none being deploy, fs, storage or refship (a default namespace carries the name,
// and below a namespace these words mean something); at most 100 bytes in all. The error is a *NameError.
func ParseName(s string) (string, error) {
	switch {
	case s == "":
		return "", &NameError{Name: s, Why: "it is empty"}
	case len(s) > maxName:
		return "", &NameError{Name: clip(s), Why: "it is longer than 100 bytes"}
	}
	for e := range strings.SplitSeq(s, "/") {
		if why := checkElement(e); why != "" {
			return "", &NameError{Name: s, Why: why}
		}
	}
	return s, nil
}

// clip cuts a text from outside to a length that a message can carry.
func clip(s string) string {
	if len(s) > maxName+len("/.git") {
		return s[:maxName] + "..."
	}
	return s
}

// checkElement says what is wrong with one element of a name, or "".
func checkElement(e string) string {
	switch {
	case e == "":
		return "it has an empty element"
	case e[0] == '.' || e[0] == '-':
		return "an element starts with " + e[:1]
	case strings.HasSuffix(e, ".git"), strings.HasSuffix(e, ".lock"):
		return "an element ends in .git or .lock"
	case slices.Contains([]string{"deploy", "fs", "storage", "refship"}, e):
		return "the element " + e + " is reserved"
	case strings.ContainsFunc(e, notNameChar):
		return "it has a character other than A-Z a-z 0-9 . _ - /"
	}
	return ""
}

func notNameChar(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return r != '.' && r != '_' && r != '-'
}

// repositoryName is what a client asked for as a name. For ssh://host/config git sends "/config", for host:config
// "config": exactly one leading slash and a trailing ".git" are dropped, nothing else is repaired.
func repositoryName(asked string) (string, error) {
	if strings.HasPrefix(strings.TrimPrefix(asked, "/"), "~") {
		return "", &NameError{Name: asked, Why: "there are no home directories here"}
	}
	name, err := ParseName(strings.TrimSuffix(strings.TrimPrefix(asked, "/"), ".git"))
	var bad *NameError
	if errors.As(err, &bad) {
		return "", &NameError{Name: clip(asked), Why: bad.Why} // what was asked for, not what became of it
	}
	return name, err
}
