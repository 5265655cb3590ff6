package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// maxPatterns is how many refs git is asked for by name. It compares each ref that it has with each name.
const maxPatterns = 100

// FinalRefs gives, for those refs that lead to an object, the ref that moves when one is pushed to: itself, or what a
// symbolic ref leads to at last.
func FinalRefs(ctx context.Context, gitDir string, refs []string) (map[string]string, error) {
	final := make(map[string]string, len(refs))
	if len(refs) == 0 {
		return final, nil
	}
	args := []string{"for-each-ref", "--format=%(refname) %(symref)", "--end-of-options"}
	if len(refs) <= maxPatterns {
		args = append(args, refs...)
	}
	out, err := Run(ctx, gitDir, args...)
	if err != nil {
		return nil, fmt.Errorf("read symbolic refs: %w", err)
	}
	wanted := make(map[string]bool, len(refs))
	for _, ref := range refs {
		wanted[ref] = true
	}
	for line := range strings.Lines(string(out)) {
		ref, to, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if to == "" {
			to = ref
		}
		if wanted[ref] {
			final[ref] = to
		}
	}
	return final, nil
}

// SymbolicRef gives the ref that a symbolic ref leads to at last, which need not exist; "" if it is none. A broken ref
// is none: git has no words but these for it.
func SymbolicRef(ctx context.Context, gitDir, ref string) (string, error) {
	out, err := Run(ctx, gitDir, "symbolic-ref", "--quiet", "--end-of-options", ref)
	var failed *Error
	if errors.As(err, &failed) && (failed.exitCode() == 1 || strings.Contains(failed.Said, "No such ref")) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read symbolic ref %s: %w", ref, err)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// Head gives the ref that HEAD of the repository at gitDir names, which need not exist; "" where HEAD names a commit.
func Head(ctx context.Context, gitDir string) (string, error) {
	return SymbolicRef(ctx, gitDir, "HEAD")
}
