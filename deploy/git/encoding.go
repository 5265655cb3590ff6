package git

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// toUTF8 converts text of a commit whose header "encoding" is name (git-commit(1), DISCUSSION), as git does to show it.
// Text in an encoding that is not known stays as it is. Commits without the header are in UTF-8.
func toUTF8(name string, text *string) {
	e := findEncoding(strings.TrimSpace(name))
	if e == nil {
		return
	}
	if converted, err := e.NewDecoder().String(*text); err == nil {
		*text = converted
	}
}

// findEncoding is nil where there is nothing to convert, or the encoding is not known. IANA's names come first: the
// Web's, which have more spellings, mean Windows-1252 by ISO-8859-1. "latin-1" is git's own name for that.
func findEncoding(name string) encoding.Encoding {
	if name == "" || strings.EqualFold(name, "UTF-8") || strings.EqualFold(name, "UTF8") {
		return nil
	}
	if strings.EqualFold(name, "latin-1") {
		name = "ISO-8859-1"
	}
	if e, err := ianaindex.IANA.Encoding(name); err == nil && e != nil {
		return e
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e
	}
	return nil
}
