package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// CheckInstalled makes sure that git is in PATH and new enough: 2.36 is the first that can sync what it received
// (core.fsync).
func CheckInstalled(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "git", "version")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fault.New(fault.Failed, "git is not in PATH", installRemedy)
	case err != nil:
		return fmt.Errorf("run git version: %w", err)
	}
	return checkVersion(string(out))
}

const installRemedy = "install git 2.36 or newer"

var versionText = regexp.MustCompile(`^git version (\d+)\.(\d+)`)

// checkVersion reads what `git version` says.
func checkVersion(said string) error {
	said = strings.TrimSpace(said)
	m := versionText.FindStringSubmatch(said)
	if m == nil {
		return fmt.Errorf("read git's version: %s", text.Mention(said))
	}
	major, err1 := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("read git's version: %w", err)
	}
	if major < 2 || (major == 2 && minor < 36) {
		return fault.New(fault.Failed, said+" is too old: it cannot sync what it received", installRemedy)
	}
	return nil
}
