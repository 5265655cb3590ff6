package socket

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

const (
	// maxPath is what fits a socket's address (unix(7): sun_path, without its NUL).
	maxPath = 107
	// maxProgram bounds refship-hook, in bytes.
	maxProgram = 256 << 20
	// requestTimeout is how long a hook may take to send its input, which git has ready.
	requestTimeout = 30 * time.Second
	// writeTimeout is how long a hook may leave what it is told unread before it counts as gone.
	writeTimeout = 10 * time.Second
)

// ErrGone is the cause with which an answer's context ends when its hook has died.
var ErrGone = errors.New("the push was broken off")

// Listener answers hooks.
type Listener struct {
	dir      string
	log      *slog.Logger
	listener *net.UnixListener
}

// Answer answers one hook: say tells its user a line, and fails when the hook has died; ctx ends then, too. The
// result is the hook's exit status.
type Answer func(ctx context.Context, req *Request, say func(line string) error) (status byte)

// Listen makes dir and the hooks in it, which are copies of program, and listens. Serve must follow.
func Listen(dir, program string, log *slog.Logger) (*Listener, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make hooks directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make hooks directory: %w", err)
	}
	l := &Listener{dir: dir, log: log}
	if err := l.copyHooks(program); err != nil {
		return nil, err
	}
	return l, l.listen()
}

// copyHooks makes both hooks anew, so that they are always those of this very program. They are copies: git takes a
// hook that leads nowhere for none and would take every push unchecked, so nothing outside of Dir may be able to
// break them.
func (l *Listener) copyHooks(program string) error {
	text, err := disk.ReadFile(program, maxProgram)
	if err != nil {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s cannot be made git's hooks: %v", program, err),
			Remedy: "install refship-hook beside refship",
		}
	}
	if err := os.MkdirAll(l.HooksPath(), 0o700); err != nil {
		return fmt.Errorf("make hooks directory: %w", err)
	}
	for _, hook := range []string{git.PreReceive, git.PostReceive} {
		path := filepath.Join(l.HooksPath(), hook)
		if err := disk.RemoveTemporary(path); err != nil { // of a server that died
			return fmt.Errorf("write hook: %w", err)
		}
		if err := disk.WriteFile(path, text, 0o700); err != nil {
			return fmt.Errorf("write hook: %w", err)
		}
		// git takes a hook that it may not run for none, and every push would be taken unchecked.
		if err := unix.Access(path, unix.X_OK); err != nil {
			return &fault.Error{
				What: fmt.Sprintf("git cannot run its hooks in %s: %v", l.HooksPath(), err),
				Remedy: "mount that file system without noexec, or use a data directory elsewhere: " +
					"hooks and checks are programs that run there",
				Cause: err,
			}
		}
	}
	return nil
}

// Probe tells whether git can run the hooks, and whether they can reach the server.
func (l *Listener) Probe() error {
	for _, hook := range []string{git.PreReceive, git.PostReceive} {
		path := filepath.Join(l.HooksPath(), hook)
		if err := unix.Access(path, unix.X_OK); err != nil {
			return fmt.Errorf("%s cannot be run: %w", path, err)
		}
	}
	switch info, err := os.Lstat(l.path()); {
	case err != nil:
		return fmt.Errorf("hooks cannot reach the server: %w", err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("hooks cannot reach the server: %s is not a socket", l.path())
	}
	return nil
}

func (l *Listener) path() string { return filepath.Join(l.dir, "hook.sock") }

// HooksPath is what receive-pack needs as core.hooksPath.
func (l *Listener) HooksPath() string { return filepath.Join(l.dir, "hooks") }

// NewToken makes the token of a push, and the variables that its receive-pack needs so that its hooks find the server
// with it.
func (l *Listener) NewToken() (token string, env []string, err error) {
	path, err := filepath.Abs(l.path())
	if err != nil {
		return "", nil, fmt.Errorf("find hook socket: %w", err)
	}
	random := make([]byte, 32)
	rand.Read(random)
	token = hex.EncodeToString(random)
	return token, []string{varSocket + "=" + path, varToken + "=" + token}, nil
}

func (l *Listener) listen() error {
	path, err := filepath.Abs(l.path())
	if err != nil {
		return fmt.Errorf("listen for hooks: %w", err)
	}
	if len(path) > maxPath {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("the socket's path %s has %d bytes, %d are possible", path, len(path), maxPath),
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
	l.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for hooks: %w", err)
	}
	return nil
}

// Close ends Serve when the hooks that run have been answered.
func (l *Listener) Close() {
	_ = l.listener.Close() // Serve tells that it is closed
}

// Serve answers hooks until Close.
func (l *Listener) Serve(ctx context.Context, answer Answer) {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: the hooks that wait stay in the socket's queue.
			l.log.ErrorContext(ctx, "accept hook", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		handlers.Go(func() { l.handle(conn, answer) })
	}
}

// handle answers one hook.
func (l *Listener) handle(conn net.Conn, answer Answer) {
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	say := func(line string) error {
		err := send(conn, frameOutput, []byte("refship: "+line+"\n"))
		if err != nil {
			cancel(err)
		}
		return err
	}
	conn.SetReadDeadline(time.Now().Add(requestTimeout))
	req, err := readRequest(conn)
	if err != nil {
		l.log.WarnContext(ctx, "hook", "error", err)
		_ = say(text.Printable(fmt.Sprintf("refused: %v", err)))
		_ = send(conn, frameExit, []byte{1}) // a hook that is gone refuses
		return
	}
	// Nothing more comes from the hook: if reading ends, the hook has died.
	conn.SetReadDeadline(time.Time{})
	var watch sync.WaitGroup
	watch.Go(func() {
		_, _ = conn.Read(make([]byte, 1)) // until the hook has died, or conn is closed below
		cancel(ErrGone)
	})
	defer watch.Wait()
	defer conn.Close()
	_ = send(conn, frameExit, []byte{answer(ctx, req, say)}) // as above
}

// send sends one frame to refship-hook.
func send(conn net.Conn, kind byte, payload []byte) error {
	conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := writeFrame(conn, kind, payload); err != nil {
		return fmt.Errorf("tell the hook: %w", err)
	}
	return nil
}
