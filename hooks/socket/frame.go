package socket

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"refship/deploy/git"
	"refship/deploy/text"
)

// Frames between refship-hook and the server; doc.go describes them.
const (
	frameVar    = 'v'
	frameInput  = 'i'
	frameEnd    = 'e'
	frameOutput = 'o'
	frameExit   = 'x'

	maxFrame = 256 << 10
	maxVars  = 4 << 20 // bytes of all variables of one hook; an environment is smaller
)

const (
	varToken  = "REFSHIP_HOOK_TOKEN"
	varSocket = "REFSHIP_HOOK_SOCKET"
	varHook   = "REFSHIP_HOOK"
)

// Request is what a hook sent: variables and its whole standard input.
type Request struct {
	Vars  map[string]string
	Input []byte
}

// Token is the token of the hook's push.
func (r *Request) Token() string { return r.Vars[varToken] }

// Hook is the hook's name: git.PreReceive or git.PostReceive.
func (r *Request) Hook() string { return r.Vars[varHook] }

// readRequest reads up to the end frame. Variables come first and none comes twice.
func readRequest(r io.Reader) (*Request, error) {
	in := bufio.NewReaderSize(r, 32<<10)
	req := &Request{Vars: make(map[string]string)}
	size := 0
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return nil, fmt.Errorf("read hook: %w", err)
		}
		length := binary.BigEndian.Uint32(head[1:])
		if length > maxFrame {
			return nil, fmt.Errorf("read hook: a frame of %d bytes, the limit is %d", length, maxFrame)
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(in, payload); err != nil {
			return nil, fmt.Errorf("read hook: %w", err)
		}
		size += len(payload)
		switch {
		case head[0] == frameVar && req.Input == nil && size <= maxVars:
			name, value, ok := strings.Cut(string(payload), "=")
			if _, twice := req.Vars[name]; !ok || twice {
				return nil, fmt.Errorf("read hook: bad variable %q", text.Clip(string(payload)))
			}
			req.Vars[name] = value
		case head[0] == frameInput && size <= maxVars+git.MaxInput && len(req.Input) <= git.MaxInput:
			req.Input = append(req.Input, payload...) // git.ParseUpdates tells what is too much
		case head[0] == frameInput:
			// Read to the end, so that the hook gets to hear why it is refused.
		case head[0] == frameEnd && length == 0:
			return req, nil
		default:
			return nil, fmt.Errorf("read hook: frame %q does not belong here", head[0])
		}
	}
}

// writeFrame sends one frame in one write.
func writeFrame(w io.Writer, kind byte, payload []byte) error {
	b := make([]byte, 0, 5+len(payload))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}
