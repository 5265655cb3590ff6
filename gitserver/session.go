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
	"refship/gitserver/repos"
	"refship/keys"
)

// Exit statuses of ssh commands, as in the command line's documentation.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 4
)

// session is one session channel: at most one command.
type session struct {
	s   *Server
	c   *conn
	pub gossh.PublicKey

	base  *slog.Logger                // says which client and key
	named atomic.Pointer[slog.Logger] // says also the user; nil: nobody was identified

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
	err    *clientWriter // standard error
	raw    io.Writer     // standard output for a process that may end with the client
}

func newSession(s *Server, c *conn, sc *gossh.ServerConn, pub gossh.PublicKey) *session {
	x := &session{s: s, c: c, pub: pub, done: make(chan struct{})}
	x.base = s.log.With("address", sc.RemoteAddr().String(), "key", gossh.FingerprintSHA256(pub))
	x.ctx, x.cancel = context.WithCancel(s.hard)
	return x
}

// isOf makes the log name the user whose key it is now: a push asks again when it begins to send.
func (x *session) isOf(key *keys.Key) { x.named.Store(x.base.With("user", key.Name)) }

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
	x.client = newClient(x.s.cfg.ReadTimeout, func(idle bool) {
		if idle {
			x.log().Warn("client reads nothing", "for", x.s.cfg.ReadTimeout)
			// A write to it may hang until the connection is closed, and end of input is what ends a git process.
			_ = x.c.Close()
		}
	})
	x.in, x.raw = gs, gs
	x.out, x.err = x.client.writer(gs), x.client.writer(gs.Stderr())
	status := x.work(gs.RawCommand())
	x.out.Close()
	x.err.Close()
	x.client.writers.Wait()
	_ = gs.Exit(status) // the client may have left
}

// work runs the command unless the server is shutting down.
func (x *session) work(raw string) int {
	if !x.s.startWork() {
		return x.fail(errShuttingDown)
	}
	defer x.s.endWork()
	return x.command(raw)
}

// command runs what the client asked for and gives its exit status.
func (x *session) command(raw string) int {
	key, err := x.s.identify(x.pub)
	if err != nil {
		return x.fail(err)
	}
	x.isOf(key)
	for _, line := range x.notTaken {
		x.tell(line)
	}
	cmd, err := parseCommand(raw)
	if err != nil {
		return x.fail(err)
	}
	switch cmd.verb {
	case verbGreet:
		return x.greet(key)
	case verbHelp:
		return x.help()
	case verbRepos:
		return x.listRepos(key)
	case verbLog:
		return x.printLog(key, cmd)
	case verbStatus:
		return x.printStatus(key, cmd.repository)
	case verbDeploy:
		return x.deploy(key, cmd.repository, cmd.target)
	case verbReceivePack:
		return x.receivePack(key, cmd.repository)
	case verbUploadPack:
		return x.uploadPack(key, cmd.repository)
	}
	return x.fail(fmt.Errorf("no handler for %s", cmd.verb))
}

// say writes a line to standard output, tell one to standard error. Writing to a client never fails.
func (x *session) say(format string, args ...any) { _, _ = fmt.Fprintf(x.out, format+"\n", args...) }

func (x *session) tell(line string) { _, _ = fmt.Fprintf(x.err, "refship: %s\n", line) }

// fail tells an error and its remedy, and gives its exit status.
func (x *session) fail(err error) int {
	var (
		usage   *usageError
		refused *refusedError
		hint    interface{ Hint() string }
	)
	var status int
	switch {
	case errors.As(err, &usage), fault.Is(err, fault.Usage):
		status = exitUsage
	case errors.As(err, &refused):
		status = exitRefused
	default:
		status = x.s.cfg.ExitCode(err)
	}
	x.log().Info("command failed", "error", err, "status", status)
	for line := range strings.SplitSeq(x.s.places.Replace(err.Error()), "\n") {
		x.tell("error: " + line)
	}
	if errors.As(err, &hint) {
		x.tell("hint: " + x.s.places.Replace(hint.Hint()))
	}
	return status
}

// withoutPlaces takes out of a text where the server has its files, and leaves what they are called: the rest is no
// client's business. The log keeps it all.
func withoutPlaces(dirs ...string) *strings.Replacer {
	var pairs []string
	for _, dir := range dirs {
		pairs = append(pairs, dir+"/", "", dir, filepath.Base(dir))
	}
	return strings.NewReplacer(pairs...)
}

// open finds a repository on which the key may do what the command needs. A repository that is hidden from the key and
// one that does not exist look the same from outside.
func (x *session) open(key *keys.Key, name string, need keys.Action) (dir string, err error) {
	dir, err = x.s.cfg.Repos.Locate(name)
	switch {
	case errors.Is(err, repos.ErrUnknown), err == nil && !key.May(keys.Read, name):
		return "", &refusedError{
			what:   fmt.Sprintf("repository %s does not exist, or key %s may not read it", name, key.Name),
			remedy: x.reachable(key, need),
		}
	case err != nil:
		return "", err
	case !key.May(need, name):
		return "", &refusedError{
			what:   fmt.Sprintf("key %s may read repository %s, but has no permission to %s", key.Name, name, need),
			remedy: fmt.Sprintf("ask who runs this server for the rule %s:%s", need, name),
		}
	}
	sha256, err := repos.UsesSHA256(x.ctx, dir)
	switch {
	case err != nil:
		return "", err
	case sha256:
		return "", &refusedError{
			what:   fmt.Sprintf("repository %s uses SHA-256 object names, refship works with SHA-1 only", name),
			remedy: "make it anew with refship repo create and push from a SHA-1 repository",
		}
	}
	return dir, nil
}

const maxListed = 20

// reachable names the repositories on which a key may do something.
func (x *session) reachable(key *keys.Key, need keys.Action) string {
	what := "push to"
	if need == keys.Read {
		what = "read"
	}
	if need == keys.Deploy {
		what = "deploy"
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
	switch {
	case len(may) == 0:
		return fmt.Sprintf("there is no repository that this key may %s", what)
	case len(may) > maxListed:
		return fmt.Sprintf("this key may %s %s and %d more", what, strings.Join(may[:maxListed], ", "), len(may)-maxListed)
	}
	return fmt.Sprintf("this key may %s %s", what, strings.Join(may, ", "))
}
