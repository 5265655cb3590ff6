package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Commit is a commit of a repository.
type Commit struct {
	OID     OID
	Tree    OID
	Parents []OID
	Author  string // "Name <mail>"
	Message string
}

// Commit reads a commit. The error wraps ErrNotFound if nothing or no commit has this oid.
func (r *Repository) Commit(oid OID) (*Commit, error) { return r.commit(r.ctx, oid) }

func (r *Repository) commit(ctx context.Context, oid OID) (*Commit, error) {
	_, data, err := r.read(ctx, "commit", oid)
	if err != nil {
		return nil, err
	}
	c, err := parseCommit(string(data))
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", oid, err)
	}
	c.OID = oid
	return c, nil
}

// parseCommit reads what a commit's object holds: headers, an empty line, the message. The first header is the tree,
// the parents follow. A header may go on in lines that begin with a space.
func parseCommit(text string) (*Commit, error) {
	headers, message, _ := strings.Cut(text, "\n\n")
	c := &Commit{Message: message}
	for i, line := range strings.Split(headers, "\n") {
		name, value, _ := strings.Cut(line, " ")
		switch {
		case i == 0:
			tree, err := ParseOID(value)
			if name != "tree" || err != nil {
				return nil, errors.New("it does not begin with its tree")
			}
			c.Tree = tree
		case name == "parent" && i == len(c.Parents)+1:
			parent, err := ParseOID(value)
			if err != nil {
				return nil, fmt.Errorf("parent %d: %w", i, err)
			}
			c.Parents = append(c.Parents, parent)
		case name == "author" && c.Author == "":
			c.Author = parseAuthor(value)
		}
	}
	return c, nil
}

// parseAuthor gives "Name <mail>" of a header, which has the time behind it; "" if it is not of that form.
func parseAuthor(value string) string {
	from, to := strings.LastIndexByte(value, '<'), strings.LastIndexByte(value, '>')
	if from < 0 || to < from {
		return ""
	}
	return strings.Trim(value[:from], " ") + " " + value[from:to+1]
}
