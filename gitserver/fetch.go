package gitserver

import (
	"errors"
	"io"
	"time"

	"refship/keys"
)

// uploadPack runs a clone or fetch, which ends with the client.
func (x *session) uploadPack(key *keys.Key, name string) int {
	dir, _, release, err := x.enter(x.s.fetches, key, name, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	defer release()
	since := time.Now()
	_, gitErr := x.runGit(x.ctx, gitProcess{
		dir: dir,
		args: []string{"-c", "uploadpack.allowFilter=true", "-c", "gc.auto=0",
			"upload-pack", "--strict", "--end-of-options", dir},
		stdin:  x.in,
		stdout: x.raw,
	})
	status := exitDone
	if x.ctx.Err() == nil && !errors.Is(gitErr, io.EOF) { // else the client is gone and hears nothing
		status = x.gitStatus("git upload-pack", gitErr)
	}
	x.log().Info("fetch ended", "repository", name, "status", status, "took", time.Since(since))
	return status
}
