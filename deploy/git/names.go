package git

import (
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// OID names a git object; see the package documentation for its two names.
type OID = tree.OID

// Format is a repository's object format; see tree.Format.
type Format = tree.Format

// The formats.
const (
	FormatSHA1   = tree.FormatSHA1
	FormatSHA256 = tree.FormatSHA256
)

// ParseFormat reads a format as git calls it; see tree.ParseFormat.
func ParseFormat(name string) (Format, error) { return tree.ParseFormat(name) }

// ParseOID reads an oid as git prints it; see tree.ParseOID.
func ParseOID(digits string) (OID, error) { return tree.ParseOID(digits) }

// NotesRef is refship's own: no push moves it, and no target deploys it.
const NotesRef = "refs/notes/deploys"

// CheckRef refuses what is not a full ref name as git-check-ref-format(1) describes them (fault.Refused). What that
// allows is a ref, refs/heads/@ and refs/heads/-x too, though `git branch` makes none of that name.
func CheckRef(ref string) error {
	if strings.HasPrefix(ref, "refs/") && strings.Count(ref, "/") >= 2 && len(ref) <= 1000 && isRefName(ref) {
		return nil
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("ref name %q is not usable", text.Clip(ref)),
		Remedy: "a ref is named in full, such as refs/heads/main: git check-ref-format says what is allowed",
	}
}

func isRefName(ref string) bool {
	for part := range strings.SplitSeq(ref, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	bad := func(r rune) bool { return r <= ' ' || r == '\x7f' || strings.ContainsRune(`~^:?*[\`, r) }
	return !strings.Contains(ref, "..") && !strings.Contains(ref, "@{") && !strings.HasSuffix(ref, ".") &&
		!strings.ContainsFunc(ref, bad)
}

// RefsClash tells whether two refs cannot both be: git keeps no ref below another one.
func RefsClash(a, b string) bool { return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") }

// ShortRef is a ref's name for reading and for git's command line: "main" for a branch, the full name for another ref
// and for a branch whose short name means something else there.
func ShortRef(ref string) string {
	short := strings.TrimPrefix(ref, "refs/heads/")
	if short == "@" || short == "HEAD" || strings.HasPrefix(short, "-") || strings.HasPrefix(short, "refs/") {
		return ref
	}
	return short
}

// RefArg is a ref's name in a command that is shown: as short as git understands it, quoted for a shell where it has to
// be.
func RefArg(ref string) string { return text.Quote(ShortRef(ref)) }
