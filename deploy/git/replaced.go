package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// OwnRefs begins the names of the refs that are refship's own. A server shows them to nobody and takes no push to them.
const OwnRefs = "refs/refship/"

// IsOwnRef tells whether a ref is refship's own.
func IsOwnRef(ref string) bool { return ref == NotesRef || strings.HasPrefix(ref, OwnRefs) }

// replacedRefs begins the names of refs to what deployed refs led to: refs/refship/replaced/<oid>.
const replacedRefs = OwnRefs + "replaced/"

// IsAncestor tells whether descendant is ancestor, or has it in its history. With the variables of [QuarantineEnv] a
// push's new commits are seen.
func IsAncestor(ctx context.Context, gitDir string, quarantine []string, ancestor, descendant OID) (bool, error) {
	const name = "merge-base"
	_, err := output(ctx, command(ctx, gitDir, Env(gitDir, quarantine...), name, "--is-ancestor", "--end-of-options",
		ancestor.String(), descendant.String()), name, limits{})
	if isNo(err) {
		return false, nil
	}
	return err == nil, err
}

// isNo tells git's "no" from its failure: 1 is also what some versions end with when they could not read a commit.
func isNo(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.exitCode() == 1 && !strings.Contains(failed.Said, "error:")
}

// KeepReplaced makes a synced ref to what a deployed ref leads to and is about to lead to no more: records name it, or
// what is below it, and without a ref "git gc" would remove it. The ref is named by the object, so making it again
// changes nothing.
func KeepReplaced(ctx context.Context, gitDir string, replaced OID) error {
	ref := replacedRefs + replaced.String()
	_, err := Run(ctx, gitDir, "-c", "core.fsync=committed,reference", "-c", "core.fsyncMethod=fsync",
		"-c", "core.filesRefLockTimeout=2000", "update-ref", ref, replaced.String())
	if err != nil {
		return fmt.Errorf("keep what was deployed: %w", err)
	}
	return nil
}
