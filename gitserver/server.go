package gitserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	glssh "github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/keys"
)

// Config is what a Server needs.
type Config struct {
	Listener net.Listener // Run closes it
	HostKey  gossh.Signer
	Keys     keys.File
	Repos    repos.Dir
	Hooks    *hooks.Server
	Log      *slog.Logger
	// Remedy words what to do about an error, in the program's commands and flags where the error has a reason. nil:
	// fault.RemedyOf
	Remedy func(error) string
	Limits Limits
}

// goodbyeTime is how long clients have to close their connections after their last session, at the server's end.
const goodbyeTime = time.Second

var errShuttingDown = errors.New("the server is shutting down, try again later")

// Server is the SSH git server.
type Server struct {
	cfg       Config
	log       *slog.Logger
	hooksPath string // absolute
	hidePaths *strings.Replacer
	ssh       *glssh.Server
	pushes    *pool
	fetches   *pool

	stopping  context.Context // ends when the server begins to shut down
	beginStop context.CancelFunc
	killing   context.Context // ends when running commands have to end
	kill      context.CancelFunc

	// Constants, but for tests:
	gitMemory   uint64        // that one git process may take, in bytes
	readTimeout time.Duration // how long a client may read nothing before it counts as gone
	askAfter    time.Duration // how long a client may be silent before it is asked

	farewells chan struct{} // one for each client that is being turned away
	floods    floods

	mu       sync.Mutex
	conns    map[*conn]struct{}
	networks map[netip.Prefix]int // connections of each
	running  int                  // commands
	handlers sync.WaitGroup       // connections
	channels sync.WaitGroup       // session channels
	commands sync.WaitGroup       // commands that run
}

// New makes a server. It checks what that needs from the system: git, 2.36 or newer.
func New(cfg Config) (*Server, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Remedy == nil {
		cfg.Remedy = fault.RemedyOf
	}
	if err := git.CheckInstalled(context.Background()); err != nil {
		return nil, err
	}
	// git runs in another directory, and where a relative path leads to nothing it runs no hooks.
	hooksPath, err := filepath.Abs(cfg.Hooks.HooksPath())
	if err != nil {
		return nil, fmt.Errorf("find hooks: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, hooksPath: hooksPath,
		gitMemory: maxMemory, readTimeout: readTimeout, askAfter: askAfter,
		hidePaths: pathHider(cfg.Repos.Path, filepath.Dir(cfg.Keys.Path), filepath.Dir(hooksPath)),
		pushes:    newPool("push", "pushes", maxPushes), fetches: newPool("fetch", "fetches", maxFetches),
		farewells: make(chan struct{}, maxFarewells), conns: map[*conn]struct{}{}, networks: map[netip.Prefix]int{},
	}
	s.stopping, s.beginStop = context.WithCancel(context.Background())
	s.killing, s.kill = context.WithCancel(context.Background())
	s.ssh = &glssh.Server{
		Version:     "refship",
		HostSigners: []glssh.Signer{cfg.HostKey},
		// Without this handler the library lets every client in.
		PublicKeyHandler:     s.mayAuthenticate,
		ServerConfigCallback: s.serverConfig,
		ConnCallback: func(ctx glssh.Context, c net.Conn) net.Conn {
			ctx.SetValue(connKey{}, c)
			return c
		},
		// Everything that is not named here (port forwarding, X11, agent, subsystems) is refused.
		ChannelHandlers: map[string]glssh.ChannelHandler{"session": s.serveChannel},
		RequestHandlers: map[string]glssh.RequestHandler{},
		ConnectionFailedCallback: func(c net.Conn, err error) {
			s.log.Debug("handshake failed", "address", c.RemoteAddr().String(), "error", err)
		},
	}
	return s, nil
}

// Run serves until ctx ends, then lets running commands finish for at most grace, then ends them. It returns when
// all of the server has ended, and works once.
func (s *Server) Run(ctx context.Context, grace time.Duration) error {
	defer s.kill()
	defer s.beginStop()
	stop := context.AfterFunc(ctx, func() { _ = s.cfg.Listener.Close() })
	err := s.accept(ctx)
	stop()
	s.shutdown(grace)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("accept connections: %w", err)
	}
	return nil
}

// accept takes connections until the listener fails or is closed.
func (s *Server) accept(ctx context.Context) error {
	defer func() { _ = s.cfg.Listener.Close() }() // the second time, at an ordinary end
	const pause = 100 * time.Millisecond
	for {
		nc, err := s.cfg.Listener.Accept()
		switch {
		case err == nil:
			s.admit(nc)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return err
		default:
			// Too many open files, or a connection that broke early: these pass.
			if more, ok := s.floods.notAccepted.next(); ok {
				s.log.ErrorContext(ctx, "connection not accepted", "error", err, "also_not_accepted", more)
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

func (s *Server) serveConn(c *conn) {
	s.ssh.HandleConn(c) // until the connection is closed
	c.stopTimers()
	s.forget(c)
	if !c.authenticated.Load() {
		s.logRefused(c)
	}
}

// Stats are counts of this moment.
type Stats struct {
	Connections int // authenticated or not
	Sessions    int // commands that run
}

// Stats counts connections and sessions.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Connections: len(s.conns), Sessions: s.running}
}

// openChannel counts a session channel, or says why there cannot be one more.
func (s *Server) openChannel(c *conn) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping.Err() != nil:
		return "refship: " + errShuttingDown.Error()
	case c.channels >= maxSessions:
		return fmt.Sprintf("refship: a connection may have %d sessions at a time", maxSessions)
	}
	c.channels++
	s.channels.Add(1)
	return ""
}

func (s *Server) closeChannel(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.channels--
	s.channels.Done()
}

// startCommand counts a running command; false if the server is shutting down.
func (s *Server) startCommand() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Err() != nil {
		return false
	}
	s.commands.Add(1)
	s.running++
	return true
}

func (s *Server) endCommand() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.commands.Done()
}

// shutdown ends everything: connections without a session at once, the others when the commands have ended, at the
// latest after grace.
func (s *Server) shutdown(grace time.Duration) {
	s.mu.Lock()
	s.beginStop()
	sessions := 0
	for c := range s.conns {
		sessions += c.channels
		if c.channels == 0 {
			_ = c.Close()
		}
	}
	s.mu.Unlock()
	if sessions > 0 {
		s.log.Info("waiting for running sessions", "sessions", sessions, "at_most", grace)
	}
	if !waitFor(&s.commands, grace) {
		s.log.Warn("running sessions are ended", "after", grace)
		s.kill()
		s.closeConns() // a command may wait for its client
		s.commands.Wait()
	}
	// Closing at once could throw away an exit status that the client has not read yet.
	if !waitFor(&s.handlers, goodbyeTime) {
		s.closeConns()
	}
	s.handlers.Wait()
	s.channels.Wait()
}

func (s *Server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// waitFor tells whether all of a group has ended within d. Its goroutine ends with the group.
func waitFor(g *sync.WaitGroup, d time.Duration) bool {
	ended := make(chan struct{})
	go func() { g.Wait(); close(ended) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ended:
		return true
	case <-t.C:
		return false
	}
}
