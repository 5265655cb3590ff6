package gitserver

import (
	"regexp"
	"slices"
	"strings"

	glssh "github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/text"
)

// serveChannel handles one session channel until it is closed and its command has ended.
func (s *Server) serveChannel(_ *glssh.Server, sc *gossh.ServerConn, nc gossh.NewChannel, ctx glssh.Context) {
	c := ctx.Value(connKey{}).(*conn)
	pub, err := authenticatedBy(sc)
	if err != nil {
		s.log.ErrorContext(ctx, "session refused", "error", err)
		_ = nc.Reject(gossh.Prohibited, "refship: not authenticated")
		return
	}
	if why := s.openChannel(c); why != "" {
		_ = nc.Reject(gossh.ResourceShortage, why)
		return
	}
	defer s.closeChannel(c)
	x := newSession(s, c, pub)
	defer x.cancel()
	// The library's own session handling, with a handler that knows this session, behind the filter.
	glssh.DefaultSessionHandler(&glssh.Server{Handler: x.handle}, sc, &filteredChannel{NewChannel: nc, x: x}, ctx)
	x.wait()
}

// filteredChannel passes only those requests to the library that this server grants. The library by itself would grant
// terminals and agent forwarding and take any environment variable.
type filteredChannel struct {
	gossh.NewChannel
	x *session
}

// Accept is NewChannel's, with the requests filtered.
func (f *filteredChannel) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	ch, in, err := f.NewChannel.Accept()
	if err != nil {
		return nil, nil, err
	}
	out := make(chan *gossh.Request)
	go func() {
		defer close(out)
		defer f.x.cancel()    // the channel is closed: a clone need not go on
		for req := range in { // the library reads out until it is closed, so this does not get stuck
			f.x.filter(req)
			out <- req
		}
	}()
	return ch, out, nil
}

// notGranted is a request type that the library does not know. So the library refuses it, in its turn: replies have no
// numbers, a client tells them apart by their order alone.
const notGranted = "not-granted@refship"

// filter changes a request that is not granted. It runs before the session's command starts, or has no effect on it.
func (x *session) filter(req *gossh.Request) {
	switch req.Type {
	case "shell":
		x.started = true
	case "exec":
		var exec struct{ Command string }
		if gossh.Unmarshal(req.Payload, &exec) != nil {
			req.Type = notGranted
			return
		}
		x.started = true
	case "env":
		if x.started || !x.takeVariable(req.Payload) {
			req.Type = notGranted
		}
	default: // pty-req, x11-req, auth-agent-req@openssh.com, subsystem, signal, window-change, break, …
		req.Type = notGranted
	}
}

// gitProtocol is what GIT_PROTOCOL may be: see gitprotocol-v2(5), "version=".
var gitProtocol = regexp.MustCompile(`^version=[0-2](:[a-z0-9.=-]+)*$`)

const (
	maxGitProtocol = 100
	maxNotTaken    = 20
)

// takeVariable takes an environment variable that the client sets, or notes why not.
func (x *session) takeVariable(payload []byte) (taken bool) {
	var variable struct{ Name, Value string }
	if gossh.Unmarshal(payload, &variable) != nil {
		return false
	}
	name, value := variable.Name, variable.Value
	why := "only GIT_PROTOCOL is"
	switch {
	case name == "GIT_PROTOCOL" && len(value) <= maxGitProtocol && gitProtocol.MatchString(value):
		x.protocol = value
		return true
	case name == "GIT_PROTOCOL":
		why = "its value is not version=0, 1 or 2"
	case isLocale(name): // many clients are set up to send these to every host
		return false
	}
	if len(x.notTaken) < maxNotTaken {
		x.notTaken = append(x.notTaken, "environment variable "+text.Mention(text.Clip(name))+" not taken: "+why)
	}
	return false
}

func isLocale(name string) bool {
	return strings.HasPrefix(name, "LC_") || slices.Contains([]string{"LANG", "COLORTERM", "NO_COLOR", "TERM"}, name)
}
