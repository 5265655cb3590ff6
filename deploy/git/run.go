package git

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"refship/deploy/disk"
)

// Env is the whole environment of a git process in the repository at gitDir: nothing of this process's own but PATH,
// and no configuration but the repository's. Replacement objects (git-replace(1)) are refs that anybody who may push
// can push; git must not read one object for another because of them.
func Env(gitDir string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + gitDir, "LC_ALL=C", "GIT_DIR=" + gitDir,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1",
	}, more...)
}

// Run runs the system's git with an environment made from scratch (Env), and gives its standard output.
func Run(ctx context.Context, gitDir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = gitDir
	cmd.Env = Env(gitDir)
	var out, speech bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &speech
	if err := cmd.Run(); err != nil {
		said := strings.ReplaceAll(speech.String(), gitDir, filepath.Base(gitDir)) // where it lies is not for those who push
		return nil, fmt.Errorf("run git %s: %w: %s", args[0], disk.WithoutDir(err), strings.TrimSpace(said))
	}
	return out.Bytes(), nil
}

// ReadRef gives the oid that a ref of the repository at gitDir has; zero: there is no such ref.
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
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		oid, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		h, err := ParseOID(oid)
		if err != nil {
			return nil, fmt.Errorf("read ref %s: %w", ref, err)
		}
		found[ref] = h
	}
	return found, nil
}
