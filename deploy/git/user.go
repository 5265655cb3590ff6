package git

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Error is what git said when it could not.
type Error struct {
	command string
	Said    string
	err     error
}

func (e *Error) Error() string { return fmt.Sprintf("git %s: %v: %s", e.command, e.err, e.Said) }

func (e *Error) Unwrap() error { return e.err }

// userEnv is the environment without what would lead git to another repository or change its rules. Which files are the
// user's configuration, and how far git looks, are the user's to say; hooks are run under the same.
func userEnv() []string {
	kept := []string{"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "LC_ALL" || strings.HasPrefix(name, "GIT_") && !slices.Contains(kept, name)
	})
	return append(env, "LC_ALL=C")
}

// AsUser runs git as the user would, and gives its standard output.
func AsUser(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = userEnv()
	var out, speech bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &speech
	if err := cmd.Run(); err != nil {
		return "", &Error{command: strings.Join(args, " "), Said: strings.TrimSpace(speech.String()), err: err}
	}
	return out.String(), nil
}
