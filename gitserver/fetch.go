package gitserver

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"refship/keys"
)

// uploadPack runs a clone or fetch, which ends with the client.
func (x *session) uploadPack(key *keys.Key, name string) int {
	dir, err := x.findRepository(key, name, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	_, release, err := x.waitTurn(x.s.fetches, key, name, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	defer release()
	since := time.Now()
	_, gitErr := x.s.runGit(x.ctx, gitProcess{
		dir: dir,
		args: []string{"-c", "uploadpack.allowFilter=true", "-c", "gc.auto=0",
			"upload-pack", "--strict", "--end-of-options", dir},
		env:     x.protocolEnv(),
		stdin:   x.in,
		stdout:  x.raw,
		stderr:  x.err,
		started: func() {},
	}, &x.copying)
	status := exitDone
	if x.ctx.Err() == nil && !errors.Is(gitErr, io.EOF) { // else the client is gone and hears nothing
		status = x.gitStatus("git upload-pack", gitErr)
	}
	x.log().Info("fetch ended", "repository", name, "status", status, "took", time.Since(since))
	return status
}

func (x *session) protocolEnv() []string {
	if x.protocol == "" {
		return nil
	}
	return []string{"GIT_PROTOCOL=" + x.protocol}
}

// gitStatus is the exit status for how a git process ended. git has told its own errors by itself.
func (x *session) gitStatus(what string, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitDone
	case !errors.As(err, &exit):
		return x.fail(fmt.Errorf("run %s: %w", what, err))
	}
	if sig := endedBy(err); sig != 0 {
		return x.fail(fmt.Errorf("%s was ended by a signal: %s", what, sig))
	}
	return exit.ExitCode()
}

// endedBy is the signal that ended a process, 0 if none did.
func endedBy(err error) syscall.Signal {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return ws.Signal()
		}
	}
	return 0
}
