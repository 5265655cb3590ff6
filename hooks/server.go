package hooks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/output"
	"refship/hooks/permit"
	"refship/hooks/socket"
)

// Server answers the hooks of pushes that gitserver runs. Safe for concurrent use.
type Server struct {
	*Engine
	listener *socket.Listener

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*Session // by sha256 of the token
	stopping bool
	unnoted  map[string]bool // directories of repositories whose notes are to be written
	noting   chan struct{}   // there may be some
}

// NewServer makes the hooks and their socket in Config.Dir; see package socket. Run must follow.
func NewServer(cfg Config) (*Server, error) {
	listener, err := socket.Listen(cfg.Dir, cfg.HookBinary, cfg.Log)
	if err != nil {
		return nil, err
	}
	s := &Server{Engine: newEngine(cfg, true), listener: listener, sessions: make(map[[sha256.Size]byte]*Session),
		unnoted: map[string]bool{}, noting: make(chan struct{}, 1)}
	if err := s.checks.Clear(); err != nil { // no other server is there to use it
		cfg.Log.Warn("remove what checks left", "error", err)
	}
	return s, nil
}

// HooksPath is what receive-pack needs as core.hooksPath.
func (s *Server) HooksPath() string { return s.listener.HooksPath() }

// Probe tells whether git can run the hooks, and whether they can reach the server.
func (s *Server) Probe() error { return s.listener.Probe() }

// Run answers hooks until ctx has ended and all pushes are done. No push may begin once ctx has ended.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopping = true
		s.closeIfIdle()
	})
	defer stop()
	s.listener.Serve(ctx, s.answer)
	return nil
}

// closeIfIdle is called with s.mu held.
func (s *Server) closeIfIdle() {
	if s.stopping && len(s.sessions) == 0 {
		s.listener.Close()
	}
}

// Begin registers a push. End must follow.
func (s *Server) Begin(p Push) (*Session, error) {
	token, env, err := s.listener.NewToken()
	if err != nil {
		return nil, fmt.Errorf("begin push: %w", err)
	}
	key := sha256.Sum256([]byte(token))
	x := &Session{push: s.newPush(permit.Push{Repository: p.Repository, GitDir: p.Dir}), asked: p, env: env}
	x.push.client, x.push.stopping, x.push.nice = p.Client, p.Stopping, p.Nice
	x.forget = func() {
		s.end(x.push.id)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, key)
		s.closeIfIdle()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, errors.New("begin push: the server is stopping")
	}
	x.identify(p.Key)
	s.sessions[key] = x
	s.begin(x.push.id, p.Dir)
	return x, nil
}

// find gives the session of a token. The map's key is the token's hash: how long the search takes tells nothing about
// how much of a guessed token is right.
func (s *Server) find(token string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[sha256.Sum256([]byte(token))]
}

// answer answers one hook.
func (s *Server) answer(ctx context.Context, req *socket.Request, send func(string) error) byte {
	out := &output.Output{Every: s.every, Send: send}
	x := s.find(req.Token())
	if x == nil || !x.enter(req.Hook()) {
		s.cfg.Log.WarnContext(ctx, "hook without a push", "hook", text.Clip(req.Hook()))
		out.Line("refused: no running push has this token for %q", text.Clip(req.Hook()))
		out.Line("hint: push again, through the server")
		return 1
	}
	defer x.handlers.Done()
	if req.Hook() == git.PreReceive {
		return x.preReceive(ctx, req, out)
	}
	return x.postReceive(req, out)
}
