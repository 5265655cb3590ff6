package git

import (
	"context"
	"fmt"
	"strings"
)

// ReadRef gives the oid that a ref of the repository at gitDir has; zero if there is no such ref.
func ReadRef(ctx context.Context, gitDir, ref string) (OID, error) {
	found, err := ReadRefs(ctx, gitDir, []string{ref})
	return found[ref], err
}

// ReadRefs gives the oids of those refs that exist, loose or packed.
func ReadRefs(ctx context.Context, gitDir string, refs []string) (map[string]OID, error) {
	found := make(map[string]OID)
	if len(refs) == 0 {
		return found, nil
	}
	args := append([]string{"for-each-ref", "--format=%(objectname) %(refname)", "--end-of-options"}, refs...)
	out, err := Run(ctx, gitDir, args...)
	if err != nil {
		return nil, fmt.Errorf("read refs: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		digits, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		oid, err := ParseOID(digits)
		if err != nil {
			return nil, fmt.Errorf("read ref %s: %w", ref, err)
		}
		found[ref] = oid
	}
	return found, nil
}

// PointHead makes HEAD of the repository at gitDir name a ref, which need not exist: the branch that a clone checks
// out.
func PointHead(ctx context.Context, gitDir, ref string) error {
	if _, err := Run(ctx, gitDir, "-c", "core.fsync=reference", "symbolic-ref", "HEAD", ref); err != nil {
		return fmt.Errorf("point HEAD to %s: %w", ref, err)
	}
	return nil
}
