package main

import (
	"strings"

	"refship/deploy/git"
	"refship/deploy/tree"
)

// objectFormat is a flag that names a repository's object format.
type objectFormat struct{ git.Format }

func (f *objectFormat) UnmarshalText(word []byte) (err error) {
	if f.Format, err = git.ParseFormat(string(word)); err != nil {
		return usagef("%q is none of %s", word, strings.Join(tree.Formats(), ", "))
	}
	return nil
}

// orDefault is the format; where the flag was not given, git's own default.
func (f *objectFormat) orDefault() git.Format {
	if f == nil {
		return git.FormatSHA1
	}
	return f.Format
}

// formatWords tell an object format that is not git's default.
func formatWords(f git.Format) string {
	if f == git.FormatSHA1 {
		return ""
	}
	return ", with " + f.String() + " object names"
}
