package git

// Commit is a commit of a repository.
type Commit struct {
	OID     OID
	Tree    OID
	Parents []OID
	Author  string // "Name <mail>", converted to UTF-8 if the commit says from what
	Message string // likewise
}

// Commit reads a commit. The error wraps ErrNotFound if nothing or no commit has this oid.
func (r *Repository) Commit(oid OID) (*Commit, error) { return r.commit(r.ctx, oid) }
