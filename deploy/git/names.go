package git

import (
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// OID names a git object; see the package documentation for its two names.
type OID = tree.OID

// ParseOID reads an oid as git prints it; see tree.ParseOID.
func ParseOID(digits string) (OID, error) { return tree.ParseOID(digits) }

// CheckRef refuses what is not a full ref name as git-check-ref-format(1) describes them (fault.Refused).
func CheckRef(ref string) error {
	name := plumbing.ReferenceName(ref)
	if !strings.HasPrefix(ref, "refs/") || strings.Count(ref, "/") < 2 || len(ref) > 1000 || name.Validate() != nil {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("ref name %q is not usable", text.Clip(ref)),
			Remedy: "a ref is named in full, such as refs/heads/main: git check-ref-format says what is allowed",
		}
	}
	return nil
}

// ShortRef is a ref's name for reading: "main" for a branch, else the full name.
func ShortRef(ref string) string { return strings.TrimPrefix(ref, "refs/heads/") }
