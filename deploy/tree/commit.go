package tree

import (
	"bytes"
	"fmt"
	"strings"

	"refship/deploy/text"
)

// Commit is what the bytes of a commit say, as they are.
type Commit struct {
	Tree     OID
	Parents  []OID
	Author   string // "Name <mail> SECONDS ZONE" (git-commit-tree(1)); "" if there is none
	Encoding string // of author and message; "": UTF-8
	Message  string
}

// ParseCommit reads a commit of a format, without its header, as git does (commit.c, parse_commit_buffer): first the
// tree, then the parents. A tree or parent that is no oid of the format, or is named further down, where git reads none
// and others may, is an error. All that can be read besides is given, without parents.
func ParseCommit(data []byte, f Format) (*Commit, error) {
	c := &Commit{}
	header, message, _ := strings.Cut(string(data), "\n\n")
	c.Message = message
	var err error
	c.Tree, header, err = cutOID(header, "tree", f)
	for err == nil && strings.HasPrefix(header, "parent ") {
		var parent OID
		parent, header, err = cutOID(header, "parent", f)
		c.Parents = append(c.Parents, parent)
	}
	for line := range strings.Lines(header) {
		switch name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); {
		case name == "author" && c.Author == "":
			c.Author = rest
		case name == "encoding" && c.Encoding == "":
			c.Encoding = rest
		case (name == "tree" || name == "parent") && err == nil:
			err = fmt.Errorf("its %s is named where git names none", name)
		}
	}
	if err != nil {
		c.Parents = nil // some might be missing
	}
	return c, err
}

// cutOID cuts off a first line "<name> SP <oid>".
func cutOID(header, name string, f Format) (oid OID, rest string, err error) {
	line, rest, _ := strings.Cut(header, "\n")
	digits, ok := strings.CutPrefix(line, name+" ")
	if oid, err = ParseOID(digits); !ok || err != nil || len(digits) != 2*f.Size() {
		return OID{}, header, fmt.Errorf("%q names no %s by its %s", text.Clip(line), name, f)
	}
	return oid, rest, nil
}

// Person is "Name <mail>" of "Name <mail> SECONDS ZONE"; "" if there is no mail.
func Person(author string) string {
	open, end := strings.LastIndexByte(author, '<'), strings.LastIndexByte(author, '>')
	if open < 0 || end <= open+1 {
		return ""
	}
	return strings.Trim(author[:open], " ") + " <" + author[open+1:end] + ">"
}

// OfCommit gives the tree that a commit of a format names, of the commit's bytes without a header.
func OfCommit(commit []byte, f Format) (OID, error) {
	oid, _, err := cutOID(string(commit[:min(len(commit), 100)]), "tree", f)
	return oid, err
}

// OfTag gives the object that an annotated tag of a format names, of the tag's bytes without a header: git writes that
// first (git-mktag(1)).
func OfTag(tag []byte, f Format) (OID, error) {
	oid, _, err := cutOID(string(tag[:min(len(tag), 100)]), "object", f)
	return oid, err
}

// SignedCommit cuts a commit of a format into what is signed and the signature, which may be of any program; nil if it
// has none. A signature is a header, its further lines begin with a space (gitformat-signature(5)); each format has its
// own (gpg_sig_headers in commit.c).
func SignedCommit(data []byte, f Format) (signed, signature []byte) {
	own := []byte("gpgsig ")
	if f == FormatSHA256 {
		own = []byte("gpgsig-sha256 ")
	}
	header, message, _ := bytes.Cut(data, []byte("\n\n"))
	inside, other := false, false // a signature; that of another hash algorithm, which is not signed either
	for line := range bytes.Lines(append(bytes.Clone(header), '\n')) {
		rest, begins := bytes.CutPrefix(line, own)
		further, goesOn := bytes.CutPrefix(line, []byte(" "))
		if !goesOn {
			inside, other = begins, !begins && bytes.HasPrefix(line, []byte("gpgsig"))
		}
		switch {
		case begins:
			signature = append(signature, rest...)
		case inside && goesOn:
			signature = append(signature, further...)
		case !other:
			signed = append(signed, line...)
		}
	}
	return append(append(signed, '\n'), message...), signature
}
