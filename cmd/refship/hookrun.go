package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks"
	"refship/hooks/intent"
	"refship/hooks/permit"
	"refship/hooks/target"
	"refship/hooks/words"
	"refship/keys"
)

type hookRunCmd struct {
	Hook    string   `required:"" enum:"pre-receive,post-receive" placeholder:"NAME" help:"pre-receive or post-receive."`
	Earlier string   `placeholder:"FILE" help:"The hook that was there before, which is run first."`
	Args    []string `arg:"" optional:"" help:"Git's own."`
}

func (*hookRunCmd) Help() string {
	return "Git calls it, by way of the hooks that refship hook install writes. " +
		"It reads the repository's git config, its objects, GIT_DIR and the other variables that git sets for hooks, " +
		"and, to say who pushes, GL_USER (gitolite), GITEA_PUSHER_NAME (Gitea) or SSH_CONNECTION."
}

// hookMaxInput bounds git's ref updates, in bytes. It is above git.MaxInput, which bounds what is deployed.
const hookMaxInput = 16 << 20

// Run runs the earlier hook, and then what refship does.
func (c *hookRunCmd) Run(ctx context.Context, a *app) error {
	dir, ok := a.getenv("GIT_DIR")
	if !ok || dir == "" {
		return fault.New(fault.Usage, "GIT_DIR is not set: git calls this command, by way of a hook",
			"to put it there: refship hook install DIR")
	}
	input, err := readHookInput(a.stdin)
	if err != nil {
		return err
	}
	// A client that is gone must not end this process: writing to it fails instead. Ignoring the signal would ignore it
	// in the earlier hook, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	post := c.Hook == git.PostReceive
	var said exitError
	switch err := c.earlier(input); {
	case err != nil && !post:
		return err
	case err != nil && !errors.As(err, &said): // git ignores the status of post-receive, and the deploy goes on
		a.warn(err)
	}
	if post {
		ctx = context.WithoutCancel(ctx) // the refs have moved
	} else {
		var stop func()
		ctx, stop = whileParent(ctx)
		defer stop()
	}
	gitDir, err := git.CommonDir(dir)
	if err != nil {
		return err
	}
	if namespace, ok := a.getenv("GIT_NAMESPACE"); ok && namespace != "" {
		return nil // the refs are others than their names say (gitnamespaces(7)), and no target's
	}
	if !post { // before the config is read, which an uninstall takes away
		leave, err := intent.Enter(gitDir)
		if err != nil {
			return refuse(a, err)
		}
		defer leave()
	}
	call, err := hooks.ReadHookCall(gitDir, permit.PusherFromEnv(a.getenv), gitVars(), input, a.stderr)
	status := 0
	if err == nil {
		status, err = c.own(ctx, a, call)
	}
	switch {
	case err != nil && post:
		a.tell(append(words.Explain(remedyOf, words.Undeployed, err), redeployHints(gitDir, call)...)...)
		return exitError(exitFailed)
	case err != nil:
		return refuse(a, err)
	case status != 0:
		return exitError(status)
	}
	return nil
}

func refuse(a *app, err error) error {
	a.tell(words.Explain(remedyOf, "refused", err)...)
	return exitError(exitFailed)
}

func readHookInput(stdin io.Reader) ([]byte, error) {
	input, err := io.ReadAll(io.LimitReader(stdin, hookMaxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read git's ref updates: %w", err)
	}
	if len(input) > hookMaxInput {
		return nil, git.NamesTooLong(hookMaxInput)
	}
	return input, nil
}

// redeployHints say how to deploy what post-receive could not; call is nil if it could not be read.
func redeployHints(gitDir string, call *hooks.HookCall) []string {
	if call == nil {
		return []string{
			"hint: when that is repaired, deploy it with: refship deploy --repo " + text.Quote(gitDir) + " --rev REV",
		}
	}
	var lines []string
	for _, t := range call.Targets() {
		lines = append(lines, "hint: "+words.Moved(redeployCommand(gitDir, t)))
	}
	return lines
}

// earlier runs the hook that was there before, with all that git gave this one.
func (c *hookRunCmd) earlier(input []byte) error {
	if c.Earlier == "" {
		return nil
	}
	switch info, err := os.Stat(c.Earlier); {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Failed, "refused: the hook that was here before refship's is gone: "+c.Earlier,
			"for the operator of this repository: put it back, or take refship's hooks out: refship hook uninstall")
	case err != nil:
		return fmt.Errorf("look at the earlier hook: %w", err)
	case info.Mode()&0o111 == 0:
		return nil // git does not run it, either
	}
	run := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), os.Stdout, os.Stderr
		return cmd.Run()
	}
	err := run(c.Earlier, c.Args...)
	if errors.Is(err, syscall.ENOEXEC) { // a script without "#!", which git gives to the shell, too
		err = run("sh", append([]string{c.Earlier}, c.Args...)...)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exitError(exit.ExitCode())
	case err != nil:
		return fmt.Errorf("run %s: %w", c.Earlier, err)
	}
	return nil
}

// own deploys.
func (c *hookRunCmd) own(ctx context.Context, a *app, call *hooks.HookCall) (status int, err error) {
	if !call.Concerns() {
		return 0, nil // hooks can be shared, and this repository has nothing to do with refship
	}
	left, err := call.HasLeft()
	if err != nil {
		return 0, err
	}
	log := quietLog(a)
	e, note := hooks.NewEngine(hooks.Config{Log: log}), func() {} // which asks no chain for anything
	if call.Offline = len(call.Targets()) == 0 && !left; !call.Offline {
		open, err := openHook(ctx, call.GitDir, call.Config.Settings, true, log)
		switch {
		case err != nil && len(call.Targets()) > 0:
			return 0, err
		case err != nil: // a push to what is not deployed goes on without etcd
			if call.Offline = true; c.Hook == git.PreReceive {
				a.warn(fmt.Errorf("a push that was broken off still waits to be deployed: %w", err))
			}
		default:
			defer open.Close()
			e, note = open.Engine, func() { open.notePushed(ctx, a, call.GitDir) }
		}
	}
	if c.Hook == git.PostReceive {
		warnOfNotify(a, call.Targets())
		if status = int(e.PostReceive(ctx, call)); status == 0 {
			note()
		}
		return status, nil
	}
	return int(e.PreReceive(ctx, call)), nil
}

// warnOfNotify warns of a setting that somebody has written for hooks, which end with the push and tell nobody.
func warnOfNotify(a *app, targets []target.Target) {
	for _, t := range targets {
		if t.Notify != "" {
			a.sayLines("warning", fmt.Sprintf("refship.%s.notify tells nobody here: hooks end with the push; a refship serve "+
				"with a target in %s tells of it", t.Name, t.Namespace))
		}
	}
}

// openHook connects to the etcd that a repository's config names. To deploy, it waits for an etcd that is being
// restarted, and loads the signing key.
func openHook(
	ctx context.Context, gitDir string, s target.Settings, toDeploy bool, log *slog.Logger,
) (*openDeployer, error) {
	if len(s.Endpoints) == 0 {
		return nil, fault.New(fault.Failed, "the repository's git config does not say where etcd is",
			"for the operator of this repository: refship hook install --endpoints URL "+text.Quote(gitDir))
	}
	cfg, err := etcdOf(s, log)
	if err != nil {
		return nil, err
	}
	dial, trust := etcd.Dial, trust{openPGP: openPGPKeys(s.AllowedSigners)}
	if toDeploy {
		dial, trust.key = dialPatiently, s.SigningKey
	}
	client, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if s.AllowedSigners != "" && toDeploy {
		if trust.allowed, err = keys.ReadAllowedSigners(s.AllowedSigners); err != nil {
			return nil, errors.Join(err, client.Close())
		}
	}
	d, err := newDeployer(client, gitDir, trust, log)
	if err != nil {
		return nil, err
	}
	d.hint = hookRoomHint(d.store, gitDir)
	return d, nil
}

// gitVars are the variables that git sets for hooks.
func gitVars() map[string]string {
	vars := make(map[string]string)
	for _, v := range os.Environ() {
		if name, value, ok := strings.Cut(v, "="); ok && strings.HasPrefix(name, "GIT_") {
			vars[name] = value
		}
	}
	return vars
}

// whileParent ends the context when receive-pack is gone, which then moves no ref.
func whileParent(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	parent := os.Getppid()
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if os.Getppid() != parent {
					cancel(errors.New("git receive-pack is gone"))
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
