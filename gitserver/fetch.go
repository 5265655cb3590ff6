package gitserver

import (
	"errors"
	"fmt"
	"io"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/keys"
)

// uploadPack runs a clone or fetch, which ends with the client.
func (x *session) uploadPack(key *keys.Key, name string) int {
	v, err := x.enter(x.s.fetches, key, name, keys.Read, x.s.fetchNeeds)
	if err != nil {
		return x.fail(err)
	}
	defer v.leave()
	since := time.Now()
	var watch git.WordWatch
	gitErr := x.runGit(x.ctx, gitProcess{
		dir:    v.dir,
		nice:   v.nice,
		memory: v.memory,
		args: []string{"-c", "uploadpack.allowFilter=true", "-c", "gc.auto=0",
			"-c", "uploadpack.hideRefs=" + git.OwnRefs,
			"upload-pack", "--strict", "--end-of-options", v.dir},
		feed:   func(_ *processGroup, stdin io.Writer) { copyInput(stdin, x.in) },
		stdout: x.raw,
		watch:  &watch,
	})
	status := exitDone
	if x.ctx.Err() == nil && !errors.Is(gitErr, io.EOF) { // else the client is gone and hears nothing
		status = x.gitStatus("git upload-pack", gitErr)
	}
	if status != exitDone && watch.Memory.Load() {
		x.log().Info("git ran out of its memory", "repository", name, "limit", v.memory,
			"remedy", x.s.words(ReasonGitMemory))
		status = x.fail(fault.New(fault.Refused,
			fmt.Sprintf("git needs more than the %s of memory that it may take to send %s", text.Size(v.memory), name),
			"fetch less at once, such as git clone --single-branch; or "+x.s.askOperator(ReasonGitMemory)))
	}
	x.log().Info("fetch ended", "repository", name, "status", status, "took", time.Since(since))
	return status
}
