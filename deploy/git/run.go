package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// endGrace is how long a git that has closed its output, or was killed, may take to end.
const endGrace = 5 * time.Second

// maxSaid bounds what is kept of git's standard error, in bytes.
const maxSaid = 4096

// Env is the whole environment of a git that works for refship on the repository at gitDir: of this process's own only
// PATH, and more. What decides which configuration and objects git sees comes last, so that more cannot change it: no
// configuration but the repository's, and no replacement objects (git-replace(1)), which are refs that anybody who may
// push can push.
func Env(gitDir string, more ...string) []string {
	return slices.Concat([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + gitDir}, more, noFetch, []string{
		"LC_ALL=C", "MALLOC_ARENA_MAX=2", "GIT_DIR=" + gitDir, "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_NO_REPLACE_OBJECTS=1",
	})
}

// command is a git on the repository at gitDir that gets no signal of the caller's terminal: Ctrl-C must not end the
// git of a push that is to finish.
func command(ctx context.Context, gitDir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", slices.Concat(MemorySettings(), args)...)
	cmd.Dir, cmd.Env = gitDir, env
	cmd.WaitDelay = endGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Run runs git on the repository at gitDir, in an environment made from scratch ([Env]), and gives its standard output.
// Errors are *Error, and the cause that ended ctx.
func Run(ctx context.Context, gitDir string, args ...string) ([]byte, error) {
	return output(ctx, command(ctx, gitDir, Env(gitDir), args...), args[0], limits{})
}

// AsUser runs git as the user would, and gives its standard output. Errors are those of Run. The repository may be
// somebody else's: whatever its configuration says, git runs no program of it ([withoutPrograms]).
func AsUser(ctx context.Context, args ...string) (string, error) {
	return asUser(ctx, nil, args...)
}

// asUser is AsUser without the programs of the named filter drivers.
func asUser(ctx context.Context, filters []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = slices.Concat(userEnviron(), withoutPrograms(filters))
	cmd.WaitDelay = endGrace
	out, err := output(ctx, cmd, strings.Join(args, " "), limits{})
	return string(out), err
}

// userEnviron is the caller's environment without what would lead git to another repository or change its rules. Which
// files are the user's configuration, and how far git looks for a repository, is the user's choice; hooks run under the
// same.
func userEnviron() []string {
	kept := []string{
		"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES",
		"GIT_DISCOVERY_ACROSS_FILESYSTEM",
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "LC_ALL" || strings.HasPrefix(name, "GIT_") && !slices.Contains(kept, name)
	})
	return append(env, "LC_ALL=C")
}

// output runs a git that ends by itself and gives its standard output. name is for errors. memory is what it may take
// for itself, in bytes; 0: as much as it likes.
func output(ctx context.Context, cmd *exec.Cmd, name string, limits limits) ([]byte, error) {
	var out bytes.Buffer
	said := &speech{}
	cmd.Stdout, cmd.Stderr = &out, said
	err := limits.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run git %s: %w", name, context.Cause(ctx))
	}
	return nil, &Error{Command: name, Said: said.text(cmd.Dir), Err: disk.WithoutDir(err)}
}

// Error is a git that failed.
type Error struct {
	Command string // its arguments, or the first
	Said    string // what it said, may be ""
	Err     error  // usually an *exec.ExitError
}

func (e *Error) Error() string {
	s := fmt.Sprintf("git %s: %v", e.Command, e.Err)
	if e.Said != "" {
		lines := strings.FieldsFunc(e.Said, func(r rune) bool { return r == '\n' })
		s += ": " + strings.Join(lines, "; ")
	}
	return s
}

// Unwrap gives the remedy where one is known.
func (e *Error) Unwrap() error {
	remedy := ""
	switch {
	case strings.Contains(e.Said, "unknown option"), errors.Is(e.Err, exec.ErrNotFound):
		remedy = installRemedy
	case strings.Contains(e.Said, "not a git repository"):
		remedy = "give the repository's git directory: git -C DIR rev-parse --absolute-git-dir prints it"
	}
	return &fault.Error{Remedy: remedy, Cause: e.Err}
}

// exitCode is git's, -1 if it was killed or did not run.
func (e *Error) exitCode() int {
	var exit *exec.ExitError
	if errors.As(e.Err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// speech keeps the beginning of what git says.
type speech struct{ buf bytes.Buffer }

func (s *speech) Write(b []byte) (int, error) {
	if room := maxSaid - s.buf.Len(); room > 0 {
		s.buf.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// text is what was said without the usage that follows a wrong option. Of the repository's path only the last element
// stays: where it lies on the server is not for pushers.
func (s *speech) text(gitDir string) string {
	said, _, _ := strings.Cut(strings.ReplaceAll(s.buf.String(), "\r", "\n"), "\nusage:")
	if gitDir != "" {
		said = strings.ReplaceAll(said, gitDir, filepath.Base(gitDir))
	}
	return strings.TrimSpace(said)
}
