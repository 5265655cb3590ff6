package gitserver

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/fault"
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

// receivePack runs a push. It goes on when the client is gone: a push that git takes has to be deployed, too. Only
// a target's check, which comes before, ends with the client.
func (x *session) receivePack(key *keys.Key, name string) int {
	dir, key, release, err := x.enter(x.s.pushes, key, name, keys.Push)
	if err != nil {
		return x.fail(err)
	}
	defer release()
	if err := checkHooks(x.s.hooksPath); err != nil {
		return x.fail(err)
	}
	in := &pushInput{r: x.in, check: func() (*keys.Key, error) { return x.stillMay(name, keys.Push) }}
	push, err := x.s.cfg.Hooks.Begin(hooks.Push{
		Repository: name, Dir: dir, Key: key, Address: x.c.RemoteAddr().String(), Client: x.ctx, Began: in.began,
	})
	if err != nil {
		return x.fail(err)
	}
	since := time.Now()
	received, gitErr := x.runGit(x.s.killing, gitProcess{
		dir: dir,
		args: append(receiveSettings(x.s.hooksPath, x.s.cfg.Limits.MaxPack), "receive-pack", "--end-of-options",
			dir),
		env:     push.Env(),
		stdin:   in,
		stdout:  x.out,
		started: func() { x.step("receive-start") },
	})
	x.step("receive-done")
	outcome := push.End(x.s.killing)
	x.step("session-ended")
	var status int
	if err := in.refusal(); err != nil {
		status = x.fail(err)
	} else {
		status = x.report(name, dir, received, gitErr, outcome)
	}
	x.log().Debug("push ended", "repository", name, "status", status, "bytes", received.bytes, "took",
		time.Since(since),
		"updates", len(outcome.Updates), "published", len(outcome.Published), "client_gone", x.client.isGone())
	return status
}

// step marks a point where tests end the process.
func (x *session) step(at string) { x.log().Debug("step", "at", at) }

// pushInput is what the client of a push sends. Its first byte is the push's beginning: a client may have looked at
// the refs long before, and kept its session. Whose the push is and what the key may do is decided there, for the
// whole push: one that has begun is finished, whatever happens to its key meanwhile.
type pushInput struct {
	r     io.Reader
	check func() (*keys.Key, error)

	mu      sync.Mutex
	key     *keys.Key // nil: the push has not begun, or its key is no longer known
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

// stillMay gives the session's key as the file has it now, nil if it is no longer there. The error says why the
// key may not do what the command needs.
func (x *session) stillMay(name string, need keys.Action) (*keys.Key, error) {
	key, err := x.lookUpKey()
	if err != nil {
		return nil, err
	}
	_, err = x.findRepository(key, name, need)
	return key, err
}

// checkHooks makes git's own test (find_hook in hook.c): where git cannot run a hook it goes on without it, and the
// push would be taken unchecked and never deployed.
func checkHooks(path string) error {
	for _, h := range []string{"pre-receive", "post-receive"} {
		if err := unix.Access(filepath.Join(path, h), unix.X_OK); err != nil {
			return hooksError(fmt.Sprintf("hook %s cannot be run: %v", h, err))
		}
	}
	return nil
}

// hooksError is for the server's hooks when they are not where git looks for them.
func hooksError(what string) error {
	return fault.New(fault.Failed, what,
		"ask the server's operator to put refship-hook back in its place and to restart refship")
}

// flush ends the list of ref updates that a push begins with: what begins with it updates none, whatever push options
// follow (gitprotocol-pack(5)).
const flush = "0000"

// report tells what git could not tell, and gives the exit status.
func (x *session) report(name, dir string, received input, gitErr error, outcome hooks.Outcome) int {
	for _, l := range outcome.Late {
		_, _ = fmt.Fprintln(x.err, l)
	}
	status := x.gitStatus("git receive-pack", gitErr)
	missed := !outcome.Reached && received.bytes >= int64(len(flush)) && string(received.first[:]) != flush
	switch {
	case missed && checkHooks(x.s.hooksPath) != nil:
		x.log().Error("hooks disappeared during a push", "repository", name, "error", checkHooks(x.s.hooksPath))
		return x.fail(hooksError("git may have stored what was pushed to " + name + " without asking its hooks"))
	case outcome.Undeployed != nil:
		x.log().Error("pushed, not deployed", "repository", name, "error", outcome.Undeployed)
		return exitFailed
	case !outcome.Reached && endedBy(gitErr) != 0: // for which what was pushed is not to blame
		x.tell("hint: nothing was stored: push again")
	case missed && received.bytes > x.s.cfg.Limits.MaxPack: // git has read more than it takes: that is why
		x.tellTooLarge(name, received.bytes)
		return max(status, exitFailed)
	case missed:
		x.log().Info("push not taken by git", "repository", name, "bytes", received.bytes)
		x.tellError(fault.New(fault.Failed,
			"nothing was stored: git refused what was pushed to "+name+", see git's own message",
			"git fsck --strict in your repository names the objects that are not in order"))
		return max(status, exitFailed)
	case received.bytes == 0 && status != exitDone && !received.ended: // git gave up before the client did
		x.log().Error("git cannot serve repository", "repository", name, "status", status)
		x.tell("hint: tell the server's operator that git cannot work with repository " + name)
	case received.bytes == 0 && status != exitDone:
		x.log().Info("client sent nothing", "repository", name)
		if x.hasNoRefs(dir) {
			x.tell(`hint: if your git says "unexpected capabilities^{}", your repository uses SHA-256 object names; ` +
				"refship works with those where git rev-parse --show-object-format says sha1")
		}
	}
	return status
}

// tellTooLarge tells client and operator of a pack over the limit.
func (x *session) tellTooLarge(name string, bytes int64) {
	limit := x.s.cfg.Limits.MaxPack
	x.log().Info("push is too large",
		"repository", name, "bytes", bytes, "limit", limit, "remedy", x.s.words(ReasonPackSize))
	x.tellError(fault.New(fault.Failed,
		fmt.Sprintf("nothing was stored: what was pushed to %s is more than %s, the most that this server takes at "+
			"once",
			name, inBytes(limit)),
		"push it in parts, older commits first: git push REMOTE COMMIT:BRANCH; or "+x.s.askOperator(ReasonPackSize)))
}

// hasNoRefs tells whether the client was shown no ref. A client that is shown some and sends nothing has said why:
// updates that are no fast-forwards, with --atomic, and what this server does not support. But on an empty list a git
// whose repository uses SHA-256 gives up with a message about something else.
func (x *session) hasNoRefs(dir string) bool {
	out, err := git.Run(x.s.killing, dir, "for-each-ref", "--count=1")
	return err == nil && len(out) == 0
}

// inBytes writes a size for people: "1 GiB", "1.5 MiB", "100 bytes".
func inBytes(n int64) string {
	if n < 1024 {
		return text.Count(int(n), "byte")
	}
	return text.Size(n)
}
