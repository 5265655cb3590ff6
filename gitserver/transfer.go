package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks"
	"refship/keys"
)

// receiveSettings are git's settings for a push; they win over the repository's own config. Every pack is kept as one
// and synced before the refs move, and they are synced too: what etcd points to is then on disk. Background work is
// not a push's business. Hooks are the server's.
func receiveSettings(hooksPath string, maxPack int64) []string {
	return []string{
		"-c", fmt.Sprintf("receive.maxInputSize=%d", maxPack),
		"-c", "receive.unpackLimit=1",
		"-c", "core.fsync=committed,reference",
		"-c", "core.fsyncMethod=fsync",
		"-c", "receive.autogc=false",
		"-c", "gc.auto=0",
		"-c", "maintenance.auto=false",
		"-c", "receive.advertisePushOptions=true",
		"-c", "receive.fsckObjects=true",
		"-c", "receive.hideRefs=refs/notes/deploys",
		"-c", "core.hooksPath=" + hooksPath,
	}
}

// flush ends the list of ref updates that a push begins with: what begins with it updates none, whatever push options
// follow (gitprotocol-pack(5)).
const flush = "0000"

// receivePack runs a push. It goes on when the client is gone: a push that git takes has to be deployed, too. Only
// a target's check, which comes before, ends with the client.
func (x *session) receivePack(key *keys.Key, name string) int {
	dir, err := x.open(key, name, keys.Push)
	if err != nil {
		return x.fail(err)
	}
	if err := checkHooks(x.s.hooksPath); err != nil {
		return x.fail(err)
	}
	key, release, err := x.enter(x.s.pushes, key, name, keys.Push)
	if err != nil {
		return x.fail(err)
	}
	defer release()
	in := &pushInput{r: x.in, check: func() (*keys.Key, error) { return x.stillMay(name, keys.Push) }}
	push, err := x.s.cfg.Hooks.Begin(hooks.Push{
		Repository: name, Dir: dir, Key: key, Address: x.c.RemoteAddr().String(), Client: x.ctx, Began: in.began,
	})
	if err != nil {
		return x.fail(err)
	}
	since := time.Now()
	received, gitErr := x.s.runGit(x.s.hard, gitRun{
		dir:     dir,
		args:    append(receiveSettings(x.s.hooksPath, x.s.cfg.Limits.MaxPack), "receive-pack", "--end-of-options", dir),
		env:     append(x.protocolEnv(), push.Env()...),
		stdin:   in,
		stdout:  x.out,
		stderr:  x.err,
		started: func() { x.step("receive-start") },
	}, &x.copying)
	x.step("receive-done")
	outcome := push.End(x.s.hard)
	x.step("session-ended")
	status := 0
	if err := in.refusal(); err != nil {
		status = x.fail(err)
	} else {
		status = x.report(name, dir, received, gitErr, outcome)
	}
	x.log().Debug("push ended", "repository", name, "status", status, "bytes", received.bytes, "took", time.Since(since),
		"updates", len(outcome.Updates), "published", len(outcome.Published), "client_gone", x.client.isGone())
	return status
}

// pushInput is what the client of a push sends. Its first byte is the push's beginning: a client may have looked at the
// refs long before, and kept its session. Whose the push is and what the key may do is decided there, for the whole push:
// one that has begun is finished, whatever happens to its key meanwhile.
type pushInput struct {
	r     io.Reader
	check func() (*keys.Key, error)

	mu      sync.Mutex
	key     *keys.Key // nil: the push has not begun, or its key is not known any more
	refused error
}

func (in *pushInput) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	if n > 0 && !in.begin() {
		return 0, io.EOF
	}
	return n, err
}

// begin tells whether the push may go on.
func (in *pushInput) begin() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.key == nil && in.refused == nil {
		in.key, in.refused = in.check()
	}
	return in.refused == nil
}

// began is for hooks.Push.
func (in *pushInput) began() (key *keys.Key, may bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.key, in.key != nil && in.refused == nil
}

func (in *pushInput) refusal() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.refused
}

// stillMay is the session's key as the file has it now, nil if that has none; the error says that it may not do what it
// needs on the repository.
func (x *session) stillMay(name string, need keys.Action) (*keys.Key, error) {
	key, err := x.s.identify(x.pub)
	if err != nil {
		return nil, err
	}
	x.isOf(key)
	_, err = x.open(key, name, need)
	return key, err
}

// checkHooks makes git's own test (find_hook in hook.c): a hook that it cannot run is for git as good as none, and the
// push would be taken unchecked and never deployed.
func checkHooks(path string) error {
	for _, h := range []string{"pre-receive", "post-receive"} {
		if err := unix.Access(filepath.Join(path, h), unix.X_OK); err != nil {
			return &hooksError{path: path, what: fmt.Sprintf("hook %s cannot be run: %v", h, err)}
		}
	}
	return nil
}

// hooksError: the server's hooks are not where git looks for them.
type hooksError struct{ path, what string }

func (e *hooksError) Error() string { return e.what }
func (e *hooksError) Hint() string {
	return "who runs this server has to see that refship-hook is in its place, and to start refship again"
}

// report tells what git could not, and gives the exit status.
func (x *session) report(name, dir string, received input, gitErr error, outcome hooks.Outcome) int {
	for _, l := range outcome.Late {
		_, _ = fmt.Fprintln(x.err, l)
	}
	status := x.gitStatus("git receive-pack", gitErr)
	missed := !outcome.Reached && received.bytes >= int64(len(flush)) && string(received.first[:]) != flush
	switch {
	case missed && checkHooks(x.s.hooksPath) != nil:
		x.log().Error("hooks disappeared during a push", "repository", name, "error", checkHooks(x.s.hooksPath))
		return x.fail(&hooksError{path: x.s.hooksPath, what: "git may have stored what was pushed to " + name + " without asking its hooks"})
	case outcome.Undeployed != nil:
		x.log().Error("pushed, not deployed", "repository", name, "error", outcome.Undeployed)
		return exitFailed
	case !outcome.Reached && endedBy(gitErr) != 0: // for which what was pushed is not to blame
		x.tell("hint: nothing was stored: push again")
	case missed && received.bytes > x.s.cfg.Limits.MaxPack: // git has read more than it takes: that is why
		x.log().Info("push is too large", "repository", name, "bytes", received.bytes, "limit", x.s.cfg.Limits.MaxPack, "flag", "--max-pack-size")
		x.tell(fmt.Sprintf("error: nothing was stored: what was pushed to %s is more than %s, the most that this server takes at once", name, inBytes(x.s.cfg.Limits.MaxPack)))
		x.tell("hint: push it in parts, older commits first: git push REMOTE COMMIT:BRANCH; or ask who runs this server for a larger --max-pack-size")
		return max(status, exitFailed)
	case missed:
		x.log().Info("push not taken by git", "repository", name, "bytes", received.bytes)
		x.tell("error: nothing was stored: git refused what was pushed to " + name + ", see git's own message")
		x.tell("hint: git fsck --strict in your repository names the objects that are not in order")
		if status == exitDone {
			return exitFailed
		}
	case received.bytes == 0 && status != exitDone && !received.ended: // git gave up before the client did
		x.log().Error("git cannot serve repository", "repository", name, "status", status)
		x.tell("hint: who runs this server has to look at repository " + name + ": git cannot work with it")
	case received.bytes == 0 && status != exitDone:
		x.log().Info("client sent nothing", "repository", name)
		if x.hasNoRefs(dir) {
			x.tell(`hint: if your git says "unexpected capabilities^{}", your repository names its objects by SHA-256; refship works with those where git rev-parse --show-object-format says sha1`)
		}
	}
	return status
}

// hasNoRefs tells whether the client was shown no ref. Who finds some and sends nothing has said why: updates that are no
// fast-forwards, with --atomic, and what this server does not support. But on an empty list a git whose repository uses
// SHA-256 gives up with a message about something else.
func (x *session) hasNoRefs(dir string) bool {
	out, err := git.Run(x.s.hard, dir, "for-each-ref", "--count=1")
	return err == nil && len(out) == 0
}

// uploadPack runs a clone or fetch, which ends with the client.
func (x *session) uploadPack(key *keys.Key, name string) int {
	dir, err := x.open(key, name, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	_, release, err := x.enter(x.s.fetches, key, name, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	defer release()
	since := time.Now()
	_, gitErr := x.s.runGit(x.ctx, gitRun{
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
	if x.ctx.Err() == nil && !errors.Is(gitErr, io.EOF) { // with the client gone there is nobody to tell
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

// step marks a point where tests end the process.
func (x *session) step(at string) { x.log().DebugContext(context.Background(), "step", "at", at) }

// inBytes writes a size for people: "1 GiB", "1.5 MiB", "100 bytes".
func inBytes(n int64) string {
	if n < 1024 {
		return text.Count(int(n), "byte")
	}
	return text.Size(n)
}
