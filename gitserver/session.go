package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	glssh "github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/command"
	"refship/gitserver/repos"
	"refship/keys"
)

// Exit statuses of ssh commands that are not those of an error, whose kind is its status.
const (
	exitDone   = 0
	exitFailed = int(fault.Failed)
)

// session is one session channel: at most one command.
type session struct {
	s   *Server
	c   *conn
	pub gossh.PublicKey

	base  *slog.Logger                // names the client and the key
	named atomic.Pointer[slog.Logger] // names the user, too; nil before the key was looked up

	ctx    context.Context // ends with the channel
	cancel context.CancelFunc

	// Written by the filter, up to the request that starts the command; read by the command.
	started  bool
	protocol string   // GIT_PROTOCOL, checked; "" if none
	notTaken []string // what to tell about other variables

	done    chan struct{}  // closed when the command has ended, if one was started
	copying sync.WaitGroup // of the client's input to git

	// Of the command:
	client *client
	in     io.Reader
	out    *clientWriter // standard output
	err    *hidingWriter // standard error
	raw    io.Writer     // standard output for a process that may end with the client
}

func newSession(s *Server, c *conn, pub gossh.PublicKey) *session {
	x := &session{s: s, c: c, pub: pub, done: make(chan struct{})}
	x.base = s.log.With("address", c.RemoteAddr().String(), "key", gossh.FingerprintSHA256(pub))
	x.ctx, x.cancel = context.WithCancel(s.killing)
	return x
}

func (x *session) log() *slog.Logger {
	if named := x.named.Load(); named != nil {
		return named
	}
	return x.base
}

// wait returns when the command has ended. The channel is closed and the filter has ended before.
func (x *session) wait() {
	if x.started {
		<-x.done
	}
	x.copying.Wait()
}

// handle is the library's session handler.
func (x *session) handle(gs glssh.Session) {
	defer close(x.done)
	x.client = newClient(x.s.readTimeout, func(idle bool) {
		if idle {
			x.log().Warn("client reads nothing", "for", x.s.readTimeout)
			// A write to it may hang until the connection is closed, and end of input is what ends a git process.
			_ = x.c.Close()
		}
	})
	x.in, x.raw = gs, gs
	x.out = x.client.writer(gs)
	x.err = &hidingWriter{to: x.client.writer(gs.Stderr()), hide: x.s.hidePaths}
	status := x.runUnlessStopping(gs.RawCommand())
	x.out.Close()
	x.err.Close()
	x.client.writers.Wait()
	_ = gs.Exit(status) // the client may have left
}

func (x *session) runUnlessStopping(raw string) (status int) {
	if !x.s.startCommand() {
		return x.fail(errShuttingDown)
	}
	defer x.s.endCommand()
	return x.run(raw)
}

// run does what the client asked for and gives its exit status.
func (x *session) run(raw string) int {
	key, err := x.lookUpKey()
	if err != nil {
		return x.fail(err)
	}
	for _, line := range x.notTaken {
		x.tell(line)
	}
	cmd, err := command.Parse(raw)
	if err != nil {
		return x.fail(err)
	}
	switch cmd.Verb {
	case command.Greet:
		return x.greet(key)
	case command.Help:
		return x.help()
	case command.Repos:
		return x.listRepos(key)
	case command.Web:
		return x.web(key)
	case command.Log:
		return x.printLog(key, cmd)
	case command.Status:
		return x.printStatus(key, cmd.Repository)
	case command.Nodes:
		return x.printNodes(key, cmd)
	case command.Deploy:
		return x.deploy(key, cmd.Repository, cmd.Target)
	case command.Check:
		return x.check(key, cmd)
	case command.Rollback:
		return x.rollback(key, cmd)
	case command.Hold:
		return x.hold(key, cmd)
	case command.Promote:
		return x.promote(key, cmd)
	case command.Resume:
		return x.resume(key, cmd)
	case command.Cosign:
		return x.cosign(key, cmd)
	case command.Etcd:
		return x.etcd(key, cmd)
	case command.ReceivePack:
		return x.receivePack(key, cmd.Repository)
	case command.UploadPack:
		return x.uploadPack(key, cmd.Repository)
	}
	return x.fail(fmt.Errorf("no handler for %s", cmd.Verb))
}

// lookUpKey finds the session's key in the file as it is now, and makes the log name its user.
func (x *session) lookUpKey() (*keys.Key, error) {
	key, err := x.s.cfg.Keys.Find(x.pub)
	if err != nil && !errors.Is(err, keys.ErrLine) {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if key == nil { // or its line became unusable: which line it is concerns the operator alone
		return nil, fault.New(fault.Refused,
			fmt.Sprintf("key %s is not known here any more", gossh.FingerprintSHA256(x.pub)),
			"ask the server's operator to add it again")
	}
	x.named.Store(x.base.With("user", key.Name))
	return key, nil
}

// print writes a line of data to standard output, tell a line of speech to standard error. Writing to a client never
// fails.
func (x *session) print(format string, args ...any) { _, _ = fmt.Fprintf(x.out, format+"\n", args...) }

func (x *session) tell(line string) { _, _ = fmt.Fprintf(x.err, "refship: %s\n", line) }

// tellError tells an error and its remedy, without the places of the server's files.
func (x *session) tellError(err error) {
	for line := range strings.SplitSeq(x.s.hidePaths.Replace(err.Error()), "\n") {
		x.tell("error: " + line)
	}
	if remedy := x.s.cfg.Remedy(err); remedy != "" {
		x.tell("hint: " + x.s.hidePaths.Replace(remedy))
	}
}

// fail tells the error that ends a command, and gives its exit status.
func (x *session) fail(err error) int {
	status := int(fault.KindOf(err))
	x.log().Info("command failed", "error", err, "status", status)
	x.tellError(err)
	return status
}

// pathHider takes out of a text in which directories the server has its files, and leaves the files' names: the rest
// is not a client's business. The log keeps it all.
func pathHider(dirs ...string) *strings.Replacer {
	var pairs []string
	for _, dir := range dirs {
		pairs = append(pairs, dir+"/", "", dir, filepath.Base(dir))
	}
	return strings.NewReplacer(pairs...)
}

// findRepository gives the directory of a repository on which the key may do what the command needs. A repository
// that is hidden from the key and one that does not exist look the same from outside.
func (x *session) findRepository(key *keys.Key, name string, need keys.Action) (dir string, err error) {
	dir, err = x.s.cfg.Repos.Locate(name)
	switch {
	case errors.Is(err, repos.ErrUnknown), err == nil && !key.May(keys.Read, name):
		return "", fault.New(fault.Refused,
			fmt.Sprintf("repository %s does not exist, or key %s may not read it", name, key.Name), x.reachable(key,
				need, name))
	case err != nil:
		return "", err
	case !key.May(need, name):
		return "", fault.New(fault.Refused,
			fmt.Sprintf("key %s may read repository %s, but has no permission to %s", key.Name, name, need),
			fmt.Sprintf("ask the server's operator for the rule %s:%s", need, name))
	}
	return dir, nil
}

// maxListed is how many repositories a hint names.
const maxListed = 20

// reachable names the repositories on which a key may do something, the one first that is named like a mistyped one.
func (x *session) reachable(key *keys.Key, need keys.Action, typed string) string {
	what := string(need) // "read", "deploy"
	if need == keys.Push {
		what = "push to"
	}
	names, err := x.s.cfg.Repos.Names()
	if err != nil {
		x.log().Error("repositories cannot be listed", "error", err)
		return "check the name"
	}
	var may []string
	for _, n := range names {
		if key.May(keys.Read, n) && key.May(need, n) {
			may = append(may, n)
		}
	}
	if len(may) == 0 {
		return fmt.Sprintf("there is no repository that this key may %s", what)
	}
	listed := fmt.Sprintf("this key may %s %s", what, text.First(maxListed, may))
	if near := text.Nearest(typed, may); near != "" {
		return "did you mean " + near + "? " + listed
	}
	return listed
}
