package gitserver

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/gitserver/reply"
	"refship/gitserver/repos"
	"refship/gitserver/upkeep"
	"refship/hooks"
	"refship/keys"
)

// receiveSettings are git's settings for a push; they win over the repository's own config. Every pack is kept as one
// and synced before the refs move, and they are synced too: what etcd points to is then on disk. Background work is
// not a push's business. Hooks are the server's.
func receiveSettings(dir, hooksPath string, maxPack int64) []string {
	settings := append(upkeep.PushSettings(),
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
		"-c", "receive.hideRefs="+git.OwnRefs,
		"-c", "core.hooksPath="+hooksPath,
	)
	// To see what is new, rev-list looks at the refs of this repository, and then once more, with a for-each-ref, since
	// the repository is the alternate of the push's quarantine. Where there is no other alternate, the latter can go.
	if !exists(filepath.Join(dir, "objects", "info", "alternates")) {
		settings = append(settings, "-c", "core.alternateRefsCommand=true")
	}
	return settings
}

// certificateEnv lets a push be signed (git-config(1), receive.certNonceSeed). The seed is a secret, and command lines
// are for everybody to read. git's own look at a signature would run programs of the system on what a client sends, and
// the hooks look for themselves: what is run instead is a hook, which takes it in and knows no key.
func certificateEnv(seed, hooksPath string) []string {
	program := filepath.Join(hooksPath, git.PreReceive)
	settings := [][2]string{
		{"gpg.program", program}, {"gpg.x509.program", program}, {"gpg.ssh.program", program},
		{"gpg.ssh.allowedSignersFile", os.DevNull},
	}
	if seed != "" {
		settings = append(settings, [2]string{"receive.certNonceSeed", seed})
	}
	env := []string{fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings))}
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}

// receivePack runs a push. It goes on when the client is gone: a push that git takes has to be deployed, too. Only
// a target's check, which comes before, ends with the client.
func (x *session) receivePack(key *keys.Key, name string) int {
	v, err := x.enter(x.s.pushes, key, name, keys.Push, pushNeeds)
	if err != nil {
		return x.fail(err)
	}
	defer v.leave()
	defer x.s.keeper.Enter(name, v.dir)()
	if err := checkHooks(x.s.hooksPath); err != nil {
		return x.fail(err)
	}
	format, err := repos.Format(v.dir)
	if err != nil {
		return x.fail(err)
	}
	p := &receiving{
		x: x, name: name, dir: v.dir, format: format, reply: reply.New(x.out), limit: v.memory - receiveMemory,
	}
	p.in = &pushInput{r: x.in, check: func() (*keys.Key, error) { return x.stillMay(name, keys.Push) }}
	push, err := x.s.cfg.Hooks.Begin(hooks.Push{
		Repository: name, Dir: v.dir, Key: v.key, Address: x.c.RemoteAddr().String(), Client: x.ctx,
		Stopping: x.s.stopping, Began: p.began, Nice: v.nice,
	})
	if err != nil {
		return x.fail(err)
	}
	defer p.end()
	since := time.Now()
	gitErr := x.runGit(x.s.killing, gitProcess{
		dir:    v.dir,
		nice:   v.nice,
		memory: p.limit,
		args: append(receiveSettings(v.dir, x.s.hooksPath, x.s.cfg.Limits.MaxPack), "receive-pack", "--end-of-options",
			v.dir),
		env:     append(push.Env(), certificateEnv(x.s.cfg.NonceSeed, x.s.hooksPath)...),
		feed:    p.feed,
		stdout:  p.flaws.On(p.reply),
		watch:   &p.watch,
		started: func() { x.step("receive-start") },
	})
	x.step("receive-done")
	outcome := push.End(x.s.killing)
	x.step("session-ended")
	received := p.in.soFar()
	var status int
	if err := p.in.refusal(); err != nil {
		status = x.fail(err)
	} else {
		status = p.report(received, gitErr, outcome)
	}
	switch {
	case status == exitDone && p.hadNothing():
		status = p.retry()
	case outcome.Reached && outcome.Refused == nil:
		p.warn(outcome)
	}
	_ = p.reply.End(p.deny(outcome)) // writing to a client never fails
	if len(outcome.Published) > 0 {
		x.s.cfg.Hooks.NoteLater(v.dir) // the client has its answer
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
	in      input
	key     *keys.Key // nil: the push has not begun, or its key is no longer known
	refused error
}

// input is what a client sent.
type input struct {
	bytes int64
	ended bool // the client's input was at its end before git was
}

func (in *pushInput) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.in.bytes += int64(n)
	in.in.ended = err != nil
	if n > 0 && !in.begin() {
		return 0, io.EOF
	}
	return n, err
}

// begin tells whether the push may go on. The caller holds in.mu.
func (in *pushInput) begin() bool {
	if in.key == nil && in.refused == nil {
		in.key, in.refused = in.check()
	}
	return in.refused == nil
}

// refuse ends the push with an error, unless it has one.
func (in *pushInput) refuse(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.refused == nil {
		in.refused = err
	}
}

func (in *pushInput) soFar() input {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.in
}

func (in *pushInput) refusal() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.refused
}

// began is the key that the push began with, and whether it may go on.
func (in *pushInput) began() (key *keys.Key, may bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.key, in.key != nil && in.refused == nil
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
