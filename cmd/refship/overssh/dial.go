package overssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	// ownStatus is the exit status of ssh where it has not connected, or was cut off.
	ownStatus = 255
	// notRun and notFound are a shell's exit statuses where it cannot run a command.
	notRun, notFound = 126, 127
	// endTime is how long ssh may take to end by itself, once its input has ended.
	endTime = 2 * time.Second
)

// Config says how ssh is run.
type Config struct {
	Command string    // for a shell, as in GIT_SSH_COMMAND; "": ssh
	Stderr  io.Writer // gets what ssh and the server say
	Log     *slog.Logger
}

// Dial opens the chain, and gives a client of its etcd that is closed by its Close, and the chain's namespace. It waits
// until ctx ends, since a person may have to type a password.
func (a Address) Dial(ctx context.Context, cfg Config) (client *etcd.Client, namespace string, err error) {
	p, err := a.start(cfg, "etcd")
	if err != nil {
		return nil, "", err
	}
	client, namespace, err = etcd.DialStream(ctx, p, cfg.Log)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, "", err
	case err != nil:
		return nil, "", a.explain(p, cfg, err)
	case namespace == "":
		_ = client.Close()
		return nil, "", a.noGate("what answers there is etcd, and not refship's gate")
	}
	return client, namespace, nil
}

// Send runs a command of the server's about the chain with an input, and gives its output, at most limit bytes. The
// error of a command that the server refused has its status; its words are on standard error.
func (a Address) Send(ctx context.Context, cfg Config, verb string, input []byte, limit int64) ([]byte, error) {
	p, err := a.start(cfg, verb)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = p.stop() })()
	_, err = p.in.Write(input)
	if err == nil {
		err = p.in.Close()
	}
	output, readErr := io.ReadAll(io.LimitReader(p.out, limit))
	_ = p.Close() // its input may be closed already
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case p.status != 0:
		if p.status >= int(fault.Failed) && p.status <= int(fault.Unavailable) {
			return nil, fault.New(fault.Kind(p.status), fmt.Sprintf("%s refused %s of %s", text.Mention(a.Host), verb, a.Chain), "")
		}
		return nil, a.explain(p, cfg, errors.Join(err, fmt.Errorf("ssh ended with status %d", p.status)))
	}
	return output, errors.Join(err, readErr)
}

// process is an ssh that runs.
type process struct {
	in, out *os.File      // its standard input, and output
	ended   chan struct{} // closed once it has ended, with status
	status  int           // -1: a signal
	stop    func() error
	once    sync.Once
}

// start runs ssh. As git does, it gives the command to a shell, if there is one.
func (a Address) start(cfg Config, verb string) (*process, error) {
	args := []string{"-T"}
	if a.Port != "" {
		args = append(args, "-p", a.Port)
	}
	args = append(args, a.Host, verb+" '"+a.Chain+"'") // a name has no quotes
	cmd := exec.Command("ssh", args...)
	if cfg.Command != "" {
		cmd = exec.Command("/bin/sh", append([]string{"-c", cfg.Command + ` "$@"`, cfg.Command}, args...)...)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("run ssh: %w", err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("run ssh: %w", err), theirIn.Close(), in.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, cfg.Stderr
	cmd.WaitDelay = endTime // a command in the background may keep standard error open
	err = cmd.Start()
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		_, _ = in.Close(), out.Close()
		return nil, fault.New(fault.Failed, "run ssh: "+err.Error(),
			"ssh:// chains need the program ssh; REFSHIP_SSH_COMMAND names another one")
	}
	p := &process{in: in, out: out, ended: make(chan struct{}), stop: cmd.Process.Kill}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // its status says it
		p.status = cmd.ProcessState.ExitCode()
	}()
	return p, nil
}

// Read implements io.Reader.
func (p *process) Read(b []byte) (int, error) { return p.out.Read(b) }

// Write implements io.Writer.
func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close ends ssh, and returns when it has ended.
func (p *process) Close() (err error) {
	p.once.Do(func() {
		err = errors.Join(p.in.Close(), p.out.Close())
		select {
		case <-p.ended:
		case <-time.After(endTime):
			err = errors.Join(err, ignoreEnded(p.stop()))
			<-p.ended
		}
	})
	return err
}

func ignoreEnded(err error) error {
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// explain gives the error of a Dial that has failed. ssh has ended.
func (a Address) explain(p *process, cfg Config, err error) error {
	<-p.ended
	switch {
	case p.status == ownStatus:
		return fault.New(fault.Unavailable, fmt.Sprintf("ssh could not reach %s", text.Mention(a.Host)),
			"try it by itself, as the same user: "+a.Command("help"))
	case p.status >= int(fault.Failed) && p.status <= int(fault.Unavailable):
		return fault.New(fault.Kind(p.status), fmt.Sprintf("%s did not open %s", text.Mention(a.Host), a.Chain), "")
	case cfg.Command != "" && (p.status == notFound || p.status == notRun):
		return fault.New(fault.Failed, "run ssh: the command is not found: "+text.Mention(cfg.Command),
			"REFSHIP_SSH_COMMAND, or else GIT_SSH_COMMAND, names it")
	case p.status > 0:
		return a.noGate(fmt.Sprintf("its command %s ended with status %d", strconv.Quote("etcd "+a.Chain), p.status))
	case p.status == 0:
		return a.noGate("its command " + strconv.Quote("etcd "+a.Chain) + " ended without a word of etcd's API")
	}
	return fmt.Errorf("run ssh: %w", err)
}

func (a Address) noGate(why string) error {
	return fault.New(fault.Failed, fmt.Sprintf("%s is no refship server that lets chains be read: %s",
		text.Mention(a.Host), why), "see what it can do: "+a.Command("help"))
}

// CommandFromEnv is the ssh that the environment names: REFSHIP_SSH_COMMAND, else GIT_SSH_COMMAND, "" if neither does.
func CommandFromEnv(getenv func(string) (string, bool)) string {
	for _, name := range []string{"REFSHIP_SSH_COMMAND", "GIT_SSH_COMMAND"} {
		if command, _ := getenv(name); strings.TrimSpace(command) != "" {
			return command
		}
	}
	return ""
}
