package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
)

// maxPatterns is how many refs git is asked for by name. It compares each ref that it has with each name.
const maxPatterns = 100

// NoneIsSymbolic tells that none of some refs is symbolic, where their files say so: it spares a push a git. false: git
// has to be asked.
func NoneIsSymbolic(gitDir string, refs []string) bool {
	if hasReftable(gitDir) || len(refs) > maxPatterns {
		return false
	}
	for _, ref := range refs {
		path := filepath.Join(gitDir, filepath.FromSlash(ref))
		switch info, err := os.Lstat(path); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR): // packed, which no symbolic ref is, or not there
			continue
		case err != nil || !info.Mode().IsRegular(): // a link is a symbolic ref, too
			return false
		}
		// What git takes for an oid, it does not take for the name of a ref.
		content, err := disk.ReadFile(path, maxLoose)
		if err != nil {
			return false
		}
		if _, err := ParseOID(strings.TrimSuffix(string(content), "\n")); err != nil {
			return false
		}
	}
	return true
}

// maxLoose is more than the file of a ref that is not symbolic has, in bytes.
const maxLoose = 100

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
