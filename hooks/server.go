package hooks

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

const (
	// maxSocketPath is what fits a socket's address (unix(7): sun_path, without its NUL).
	maxSocketPath = 107
	// requestTimeout is how long a hook may take to send its input, which git has ready.
	requestTimeout = 30 * time.Second
)

// Server answers the hooks of pushes that gitserver runs. Safe for concurrent use.
type Server struct {
	*Engine
	listener *net.UnixListener

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*Session // by sha256 of the token
	stopping bool
}

// NewServer writes Dir/hooks/{pre-receive,post-receive} and listens on Dir/hook.sock. Run must follow.
func NewServer(cfg Config) (*Server, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make hooks directory: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make hooks directory: %w", err)
	}
	s := &Server{Engine: newEngine(cfg, true), sessions: make(map[[sha256.Size]byte]*Session)}
	if err := s.copyHooks(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.checks.Clear(); err != nil { // no other server is there to use it
		cfg.Log.Warn("remove what checks left", "error", err)
	}
	return s, nil
}

// copyHooks makes both hooks anew, so that they are always those of this very program. They are copies: git takes a hook
// that leads nowhere for none and would take every push unchecked, so nothing outside of Dir may be able to break them.
func (s *Server) copyHooks() error {
	program, err := os.ReadFile(s.cfg.HookBinary)
	if err != nil {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s cannot be made git's hooks: %v", s.cfg.HookBinary, err),
			Remedy: "install refship-hook beside refship",
		}
	}
	if err := os.MkdirAll(s.HooksPath(), 0o700); err != nil {
		return fmt.Errorf("make hooks directory: %w", err)
	}
	for _, hook := range []string{git.PreReceive, git.PostReceive} {
		path := filepath.Join(s.HooksPath(), hook)
		if err := disk.RemoveTemporary(path); err != nil { // of a server that died
			return fmt.Errorf("write hook: %w", err)
		}
		if err := disk.WriteFile(path, program, 0o700); err != nil {
			return fmt.Errorf("write hook: %w", err)
		}
	}
	return nil
}

func (s *Server) socket() string { return filepath.Join(s.cfg.Dir, "hook.sock") }

func (s *Server) listen() error {
	path, err := filepath.Abs(s.socket())
	if err != nil {
		return fmt.Errorf("listen for hooks: %w", err)
	}
	if len(path) > maxSocketPath {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("the socket's path %s has %d bytes, %d are possible", path, len(path), maxSocketPath),
			Remedy: "use a data directory with a shorter path",
		}
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("another server answers at %s", path),
			Remedy: "stop it, or use another data directory",
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("listen for hooks: %w", err)
	}
	s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for hooks: %w", err)
	}
	return nil
}

// HooksPath is what receive-pack needs as core.hooksPath.
func (s *Server) HooksPath() string { return filepath.Join(s.cfg.Dir, "hooks") }

// Run answers hooks until ctx has ended and all pushes are done. A push may not begin any more once ctx has ended.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopping = true
		s.closeIfIdle()
	})
	defer stop()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of file descriptors, most likely: those who wait stay in the socket's queue.
			s.cfg.Log.ErrorContext(ctx, "accept hook", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		handlers.Go(func() { s.handle(conn) })
	}
}

// closeIfIdle is called with s.mu held.
func (s *Server) closeIfIdle() {
	if s.stopping && len(s.sessions) == 0 {
		_ = s.listener.Close() // Accept tells that it is closed
	}
}

// Begin registers a push. End must follow.
func (s *Server) Begin(p Push) (*Session, error) {
	socket, err := filepath.Abs(s.socket())
	if err != nil {
		return nil, fmt.Errorf("begin push: %w", err)
	}
	token := make([]byte, 32)
	rand.Read(token)
	x := &Session{push: s.newPush(p.Repository, p.Dir), asked: p, token: hex.EncodeToString(token), socket: socket, forget: s.forget}
	x.push.client = p.Client
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, errors.New("begin push: the server is stopping")
	}
	x.identify(p.Key)
	s.sessions[sha256.Sum256([]byte(x.token))] = x
	s.begin(x.push.id, p.Dir)
	return x, nil
}

func (s *Server) forget(x *Session) {
	s.end(x.push.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sha256.Sum256([]byte(x.token)))
	s.closeIfIdle()
}

// find gives the session of a token. Looking up the token's hash tells nobody, by how long it takes, how much of a
// guessed token was right.
func (s *Server) find(token string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[sha256.Sum256([]byte(token))]
}

// handle answers one hook.
func (s *Server) handle(conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	out := &output{every: s.every, send: func(line string) error { return send(conn, frameOutput, []byte("refship: "+line+"\n")) }, gone: cancel}
	conn.SetReadDeadline(time.Now().Add(requestTimeout))
	req, err := readRequest(conn)
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "hook", "error", err)
		out.line("refused: %v", err)
		_ = send(conn, frameExit, []byte{1}) // the hook is gone, and git with it
		return
	}
	x := s.find(req.vars[varToken])
	if x == nil || !x.enter(req.vars[varHook]) {
		s.cfg.Log.WarnContext(ctx, "hook without a push", "hook", text.Clip(req.vars[varHook]))
		out.line("refused: no running push has this token for %q", text.Clip(req.vars[varHook]))
		out.line("hint: push again, through the server")
		_ = send(conn, frameExit, []byte{1}) // the hook is gone, and git with it
		return
	}
	defer x.handlers.Done()

	// Nothing more comes from the hook: if reading ends, the hook has died.
	conn.SetReadDeadline(time.Time{})
	var watch sync.WaitGroup
	watch.Go(func() {
		_, _ = conn.Read(make([]byte, 1)) // until the hook has died, or conn is closed below
		cancel(errHookGone)
	})
	defer watch.Wait()
	defer conn.Close()
	status := byte(0)
	if req.vars[varHook] == git.PreReceive {
		status = x.preReceive(ctx, req, out)
	} else {
		status = x.postReceive(req, out)
	}
	_ = send(conn, frameExit, []byte{status}) // a hook that is gone refuses
}

// writeTimeout is how long a hook may leave what it is told unread before it counts as gone.
const writeTimeout = 10 * time.Second

// send sends one frame to refship-hook.
func send(conn net.Conn, kind byte, payload []byte) error {
	conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := writeFrame(conn, kind, payload); err != nil {
		return fmt.Errorf("tell the hook: %w", err)
	}
	return nil
}
