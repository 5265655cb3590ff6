package gitserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	glssh "github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/etcd/gate"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/gitserver/admit"
	"refship/gitserver/conns"
	"refship/gitserver/incoming"
	"refship/gitserver/repos"
	"refship/gitserver/upkeep"
	"refship/hooks"
	"refship/keys"
)

// Config is what a Server needs.
type Config struct {
	Listener net.Listener   // Run closes it
	HostKeys []gossh.Signer // of different kinds, those that clients should prefer first
	Keys     keys.File
	Repos    repos.Dir
	Hooks    *hooks.Server
	Gates    *gate.Server // through which clients read chains; nil: they cannot
	Room     *disk.Room   // of this machine's disks, for all of the process; nil: only pushes write
	Log      *slog.Logger
	// Remedy words what to do about an error, in the program's commands and flags where the error has a reason. nil:
	// fault.RemedyOf
	Remedy func(error) string
	Limits Limits
	// NonceSeed is the secret that the nonces of signed pushes are made of. "": no push can be signed.
	NonceSeed string
	// Link makes a link that signs a browser in as a key, and what to tell with it. nil: there is no page.
	Link func(*keys.Key) (link string, notes []string, err error)
}

// askAfter is how long a client is silent before it is asked whether it is there.
const askAfter = 30 * time.Second

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
	pushes    *admit.Pool // what each takes while it waits
	packs     *admit.Pool // what git takes to store them
	fetches   *admit.Pool
	keeper    *upkeep.Keeper

	stopping  context.Context // ends when the server begins to shut down
	beginStop context.CancelFunc
	killing   context.Context // ends when running commands have to end
	kill      context.CancelFunc

	// Constants, but for tests:
	packNeeds   func(incoming.Pack) int64
	packWait    time.Duration // how long a push waits for its pack's memory
	readTimeout time.Duration // how long a client may read nothing before it counts as gone
	askAfter    time.Duration // how long a client may be silent before it is asked
	lookEvery   time.Duration // how often a gate looks at rules

	conns     *conns.Table
	floods    floods
	shortages shortages

	mu       sync.Mutex
	running  int            // commands
	handlers sync.WaitGroup // connections
	channels sync.WaitGroup // session channels
	commands sync.WaitGroup // commands that run
}

// New makes a server. It checks what that needs from the system: git, 2.36 or newer.
func New(cfg Config) (*Server, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Room == nil {
		cfg.Room = new(disk.Room)
	}
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
		packNeeds: packNeeds, packWait: packWait, readTimeout: readTimeout, askAfter: askAfter, lookEvery: lookEvery,
		hidePaths: pathHider(cfg.Repos.Path, filepath.Dir(cfg.Keys.Path), filepath.Dir(hooksPath)),
	}
	if addr, ok := cfg.Listener.Addr().(*net.TCPAddr); ok {
		cfg.Hooks.ListensOn(addr.Port)
	}
	s.conns = s.newConns()
	s.shareMemory(cfg.Limits.GitMemory)
	s.keeper = upkeep.New(upkeep.Config{Memory: s.upkeepMemory, Log: cfg.Log})
	s.stopping, s.beginStop = context.WithCancel(context.Background())
	s.killing, s.kill = context.WithCancel(context.Background())
	s.ssh = &glssh.Server{
		Version: "refship",
		// Without this handler the library lets every client in.
		PublicKeyHandler:     s.mayAuthenticate,
		ServerConfigCallback: s.serverConfig,
		ConnCallback: func(ctx glssh.Context, c net.Conn) net.Conn {
			ctx.SetValue(connKey{}, c)
			return c
		},
		// Everything that is not named here (port forwarding, X11, agent, subsystems) is refused.
		ChannelHandlers:          map[string]glssh.ChannelHandler{"session": s.serveChannel},
		RequestHandlers:          map[string]glssh.RequestHandler{},
		ConnectionFailedCallback: func(c net.Conn, err error) { connOf(c).failed = err },
	}
	for _, key := range cfg.HostKeys {
		s.ssh.AddHostKey(key)
	}
	return s, nil
}

// newConns makes the table of connections.
func (s *Server) newConns() *conns.Table {
	l := s.cfg.Limits
	return conns.New(conns.Config{
		Limits: conns.Limits{
			Connections: l.Connections, PerAddress: l.ConnectionsPerAddress, LoginGrace: l.LoginGrace, AskAfter: s.askAfter,
		},
		Log:         s.log,
		Remedy:      func(r fault.Reason) string { return s.words(r) },
		AskOperator: s.askOperator,
	})
}

// Run serves until ctx ends, then lets running commands finish for at most grace, then ends them. It returns when
// all of the server has ended, and works once.
func (s *Server) Run(ctx context.Context, grace func() time.Duration) error {
	defer s.kill()
	var keeping sync.WaitGroup
	defer keeping.Wait()
	defer s.beginStop()
	keeping.Go(func() {
		s.keepAll()
		s.keeper.Run(s.stopping)
	})
	stop := context.AfterFunc(ctx, func() { _ = s.cfg.Listener.Close() })
	err := s.accept(ctx)
	stop()
	s.shutdown(grace())
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
			if c := s.conns.Enter(nc); c != nil {
				s.handlers.Go(func() { s.serveConn(&conn{Conn: c}) })
			}
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return err
		default:
			// Too many open files, or a connection that broke early: these pass.
			if more, ok := s.floods.notAccepted.Next(); ok {
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
	c.End()
	if !c.IsAuthenticated() {
		s.logFailed(c)
	}
}

// Stats are counts of this moment.
type Stats struct {
	Connections   int   // authenticated or not
	WithoutLogin  int   // of them
	Sessions      int   // commands that run
	Dropped       int   // connections without a login that were closed for another, since the start
	TurnedAway    int   // connections that were not taken, since the start
	GitMemory     int64 // of Limits.GitMemory, that git processes may take right now
	UpkeepsDone   int   // repositories that were packed anew, since the start
	UpkeepsFailed int   // repositories where that failed, since the start
	UpkeepTime    time.Duration
	StaleLocks    int // of git, that were removed, since the start
}

// Stats counts connections and sessions.
func (s *Server) Stats() Stats {
	kept := s.keeper.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.conns.Count()
	return Stats{
		Connections: n.All, WithoutLogin: n.WithoutLogin, Sessions: s.running,
		Dropped: n.Dropped, TurnedAway: n.TurnedAway,
		GitMemory:   s.pushes.Taken() + s.packs.Taken() + s.fetches.Taken(),
		UpkeepsDone: kept.Done, UpkeepsFailed: kept.Failed, UpkeepTime: kept.Took, StaleLocks: kept.Locks,
	}
}

// openChannel counts a session channel, or says why there cannot be one more.
func (s *Server) openChannel(c *conn) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping.Err() != nil:
		return "refship: " + errShuttingDown.Error()
	case !c.OpenSession():
		return fmt.Sprintf("refship: a connection may have %d sessions at a time", conns.MaxSessions)
	}
	s.channels.Add(1)
	return ""
}

func (s *Server) closeChannel(c *conn) {
	c.CloseSession()
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
	sessions := s.conns.CloseIdle()
	s.mu.Unlock()
	if sessions > 0 {
		s.log.Info("waiting for running sessions", "sessions", sessions, "at_most", grace)
	}
	if !waitFor(&s.commands, grace) {
		s.log.Warn("running sessions are ended", "after", grace)
		s.kill()
		s.conns.CloseAll() // a command may wait for its client
		s.commands.Wait()
	}
	// Closing at once could throw away an exit status that the client has not read yet.
	if !waitFor(&s.handlers, goodbyeTime) {
		s.conns.CloseAll()
	}
	s.handlers.Wait()
	s.conns.Wait()
	s.channels.Wait()
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
