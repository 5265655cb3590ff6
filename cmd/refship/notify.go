package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"refship/cmd/refship/monitor"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/notify"
	"refship/hooks/permit"
	"refship/hooks/target"
)

type notifyCmd struct {
	Test   notifyTestCmd   `cmd:"" help:"Send a test event to each URL of a target, and show what it answers."`
	Secret notifySecretCmd `cmd:"" help:"Print what the events for each URL of a target are signed with."`
}

// notifyFlags name the target.
type notifyFlags struct {
	dataFlag
	Chain string `arg:"" name:"chain" help:"REPO or REPO:TARGET of the data directory."`
}

// place finds the target, which must tell somebody.
func (f *notifyFlags) place(a *app) (notify.Place, []target.Receiver, error) {
	var at notify.Place
	flags := chainFlags{storeFlags: storeFlags{dataFlag: f.dataFlag}}
	found, err := flags.findChain(a, f.Chain)
	if err != nil {
		return at, nil, err
	}
	dir, err := f.dir(a)
	if err == nil {
		err = dir.checkOwner() // a secret that is made here is for the server to read
	}
	if err != nil {
		return at, nil, err
	}
	at = placeOf(found)
	receivers, err := at.Target.Notify.Receivers()
	if err == nil && len(receivers) == 0 {
		err = fault.Refuse(fmt.Sprintf("refship repo target set %s %s --notify URL", at.Repository, at.Target.Name),
			"the target %s of %s tells nobody", at.Target.Name, at.Repository)
	}
	return at, receivers, err
}

func placeOf(at hooks.Place) notify.Place {
	return notify.Place{Repository: at.Repository, GitDir: at.GitDir, Target: at.Target}
}

type notifyTestCmd struct{ notifyFlags }

func (*notifyTestCmd) Help() string {
	return "The event test goes past the queue, once, with the signature that all events have. Any answer but 2xx is a " +
		"failure, and no redirect is followed. A server need not run."
}

// Run sends a test event to each receiver.
func (c *notifyTestCmd) Run(ctx context.Context, a *app) error {
	at, receivers, err := c.place(a)
	if err != nil {
		return err
	}
	failed := 0
	for _, to := range receivers {
		e := notify.NewTest(at, permit.PusherFromEnv(a.getenv).Name)
		answer, err := notify.Try(ctx, at, to, e, userAgent())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && answer != nil:
			failed++
			a.fail(fmt.Errorf("%s: %w (in %s)", to, err, text.Took(answer.Took)), "")
		case err != nil:
			failed++
			a.fail(fmt.Errorf("%s: %w", to, err), "")
		default:
			if _, err := fmt.Fprintf(a.stdout, "%s: %s in %s\n", to, answer.Status, text.Took(answer.Took)); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return exitError(exitFailed)
	}
	return nil
}

type notifySecretCmd struct {
	notifyFlags
	New bool `help:"Make new secrets first, for all targets of the repository: the old ones count no more."`
}

func (*notifySecretCmd) Help() string {
	return "Each URL has a secret of its own. The receiver checks the header X-Hub-Signature-256 with it: HMAC-SHA256 of " +
		"the body, as GitHub's webhooks have it. A URL that begins with slack+ needs none."
}

// Run prints a line for each receiver: where it is, a tab, and its secret.
func (c *notifySecretCmd) Run(_ context.Context, a *app) error {
	at, receivers, err := c.place(a)
	if err != nil {
		return err
	}
	if c.New {
		if err := notify.Renew(at.GitDir); err != nil {
			return fmt.Errorf("make a new secret: %w", err)
		}
	}
	for _, to := range receivers {
		secret, err := notify.Secret(at, to)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.stdout, "%s\t%s\n", to, secret); err != nil {
			return err
		}
	}
	return nil
}

// notifyFlag is on the commands that change a target of a server's.
type notifyFlag struct {
	Notify *string `placeholder:"URL,…" help:"Tell these URLs what becomes of the target, by signed requests: https, or http on this machine, with commas between; empty for nobody. slack+URL gets what Slack takes. - reads them from standard input, one a line, so that no other user sees them."`
}

// apply gives the target with what the flag says.
func (f *notifyFlag) apply(a *app, t target.Target) (_ target.Target, err error) {
	if f.Notify != nil {
		t.Notify, err = readNotify(*f.Notify, a.stdin)
	}
	return t, err
}

// readNotify reads the value of --notify, which is in standard input if it is "-".
func readNotify(flag string, stdin io.Reader) (target.Notify, error) {
	n := target.Notify(flag)
	if flag == "-" {
		var all []string
		lines := bufio.NewScanner(io.LimitReader(stdin, 1<<20))
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" {
				all = append(all, line)
			}
		}
		if err := lines.Err(); err != nil {
			return "", fmt.Errorf("read --notify from standard input: %w", err)
		}
		n = target.Notify(strings.Join(all, ","))
	}
	if _, err := n.Receivers(); err != nil {
		return "", asUsage("--notify", err)
	}
	return n, nil
}

// beginNotify prepares what a target is told by, if it told nobody before, and says so.
func beginNotify(a *app, repo *repos.Repository, was, is target.Target) error {
	if is.Notify == "" {
		return nil
	}
	at := notify.Place{Repository: repo.Name, GitDir: repo.Dir, Target: is}
	var err error
	if was.Notify == "" {
		err = notify.Forget(at) // what a target of that name had left
	}
	if err == nil && (was.Notify == "" || was.Namespace != is.Namespace) {
		err = notify.Begin(at)
	}
	if err != nil {
		return fmt.Errorf("prepare to notify: %w", err)
	}
	if is.Notify == was.Notify {
		return nil
	}
	a.say("to try whether it arrives: refship notify test %s:%s; its secret: refship notify secret %s:%s", repo.Name,
		is.Name, repo.Name, is.Name)
	return nil
}

func userAgent() string {
	version, _ := buildVersion()
	return "refship/" + strings.Trim(version, "()") // "(devel)"
}

// newNotifier makes what tells receivers.
func (s *server) newNotifier() *notify.Notifier {
	return notify.New(notify.Config{Store: s.store, Places: s.places, Agent: userAgent(), Log: s.log})
}

// places are all targets.
func (s *server) places() ([]notify.Place, error) {
	listed, err := s.dir.repos().List() // with an error, those that can be read are there
	var all []notify.Place
	for _, repo := range listed {
		for _, t := range repo.Targets {
			all = append(all, notify.Place{Repository: repo.Name, GitDir: repo.Dir, Target: t})
		}
	}
	return all, err
}

// notified is what the monitor shows of it.
func notified(n *notify.Notifier) func() monitor.Notified {
	return func() monitor.Notified { return monitor.Notified(n.Stats()) }
}
