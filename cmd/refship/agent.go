package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"refship/deploy/agent"
	"refship/deploy/agent/hook"
	"refship/deploy/agent/site"
	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

type agentCmd struct {
	Run    agentRunCmd    `cmd:"" default:"withargs" help:"Follow a chain: refship agent CHAIN --root DIR --link NAME says the same."`
	Accept agentAcceptCmd `cmd:"" help:"Let a node run the deploy that it has refused, since the chain was written anew."`
}

// agentRunCmd has git-sync's names for what means the same there: kubernetes/git-sync, v4.
type agentRunCmd struct {
	chainFlags
	witnessFlags
	Chain string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
	Root  string `required:"" variable:"" gitsync:"" placeholder:"DIR" help:"The directory for all that the node keeps. It is made if it is missing."`
	Link  string `required:"" variable:"" gitsync:"" placeholder:"NAME" help:"The link that leads to what runs: in --root, or an absolute path. With --no-link, the directory."`
	Name  string `variable:"" placeholder:"NAME" help:"What the node is called in refship nodes: over SSH as its key on the server, or that and .SUFFIX. Default: the host's name."`
	Ring  string `variable:"" placeholder:"NAME" help:"The ring that the node is in, where deploys are released ring by ring. Default: none; such a node comes with the last ring."`

	OneTime     bool     `variable:"" gitsync:"" help:"End after the first success, or the first failure."`
	Period      interval `variable:"" gitsync:"" default:"1m" placeholder:"TIME" help:"How often to read the head though no deploy was heard of. Default: 1m."`
	SyncTimeout interval `variable:"" gitsync:"" default:"10m" placeholder:"TIME" help:"How long one try may take, --prepare-command included. Default: 10m."`
	MaxFailures int      `variable:"" gitsync:"" default:"-1" placeholder:"N" help:"End after more than N failures in a row; -1 is never. Default: -1."`

	KeepReleases         int      `variable:"" default:"1" placeholder:"N" help:"Keep the last N releases that do not run any more. Default: 1."`
	StaleWorktreeTimeout interval `variable:"" gitsync:"" default:"0" placeholder:"TIME" help:"Keep others for so long after they ran. Default: 0."`
	GroupWrite           bool     `variable:"" gitsync:"" help:"Let the group write to releases."`
	NoLink               bool     `variable:"" help:"Make no link: write into the directory --link, file by file, for programs that watch files. What no deploy brought stays."`
	CheckDrift           interval `variable:"" default:"0" placeholder:"TIME" help:"How often to compare what runs with what was deployed; 0 is never. Default: 0."`
	Repair               bool     `variable:"" help:"Put right what has drifted."`
	TouchFile            string   `variable:"" gitsync:"" placeholder:"FILE" help:"A file that gets a new time when another release runs: in --root, or an absolute path."`
	ErrorFile            string   `variable:"" gitsync:"" placeholder:"FILE" help:"A file that says why the last try failed, and is not there after a success: in --root, or an absolute path."`

	AgeIdentity string `variable:"" placeholder:"FILE" help:"Decrypt files *.age of a deploy with this age identity, or private SSH key without a passphrase. Default: a key of the node's own, made in --root."`
	Age         string `variable:"" default:"required" enum:"required,optional" placeholder:"HOW" help:"What to do with a file *.age that this key does not decrypt: required refuses the deploy, optional leaves the file as it is. Default: required."`

	PrepareCommand       string   `variable:"" placeholder:"COMMAND" help:"Run this with sh in a new release's directory before it runs. If it fails, the old release stays."`
	ExechookCommand      string   `variable:"" gitsync:"" placeholder:"COMMAND" help:"Run this with sh in a release's directory once it runs, and at the start."`
	ExechookTimeout      interval `variable:"" gitsync:"" default:"30s" placeholder:"TIME" help:"How long --exechook-command may take. Default: 30s."`
	ExechookBackoff      interval `variable:"" gitsync:"" default:"3s" placeholder:"TIME" help:"How long to wait before it is run again after it failed. Default: 3s."`
	WebhookURL           string   `variable:"" gitsync:"" name:"webhook-url" placeholder:"URL" help:"Ask this URL once a release runs, and at the start."`
	WebhookMethod        string   `variable:"" gitsync:"" default:"POST" placeholder:"METHOD" help:"How. Default: POST."`
	WebhookSuccessStatus int      `variable:"" gitsync:"" default:"200" placeholder:"STATUS" help:"The status of an answer that is a success; 0 is any. Default: 200."`
	WebhookTimeout       interval `variable:"" gitsync:"" default:"1s" placeholder:"TIME" help:"How long to wait for the answer. Default: 1s."`
	WebhookBackoff       interval `variable:"" gitsync:"" default:"3s" placeholder:"TIME" help:"How long to wait before it is asked again after it failed. Default: 3s."`
	HTTPBind             string   `variable:"" gitsync:"" name:"http-bind" placeholder:"HOST:PORT" help:"Answer / (200 once a release runs) and /metrics there. There is no password: choose a loopback address or a private network."`
	logFlags
}

func (*agentRunCmd) Help() string {
	return "A node that has refused a deploy waits for refship agent accept.\n\n" +
		"Commands get the hash of the deploy in HASH and GITSYNC_HASH, that of the one before in PREV_HASH, its number in " +
		"ID, and the chain's namespace in CHAIN. They get no variable that begins with REFSHIP_. " +
		"The variables of git-sync, such as GITSYNC_PERIOD, count for its flags where REFSHIP_PERIOD is not set."
}

// Run follows the chain until a signal comes.
func (c *agentRunCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	log := c.logger(a)
	umask := 0o022 // modes are 0644 and 0755, whatever this process was started with
	if c.GroupWrite {
		umask = 0o002
	}
	syscall.Umask(umask)
	var listener net.Listener
	if c.HTTPBind != "" {
		var err error
		if listener, err = listen(ctx, "--http-bind", c.HTTPBind); err != nil {
			return err
		}
		a.say("http on http://%s", listener.Addr())
	}
	node, err := agent.New(c.config(a, log, listener))
	if err != nil {
		if listener != nil {
			listener.Close()
		}
		return err
	}
	return node.Run(ctx)
}

func (c *agentRunCmd) check() error {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		c.Name = host
	}
	if err := record.CheckNodeName(c.Name); err != nil {
		return asUsage("--name", err)
	}
	if c.Ring != "" {
		if err := record.CheckRing(c.Ring); err != nil {
			return asUsage("--ring", err)
		}
	}
	if c.HTTPBind != "" {
		if err := checkAddress("--http-bind", c.HTTPBind); err != nil {
			return err
		}
	}
	for _, flag := range []struct {
		name  string
		value interval
	}{
		{"--period", c.Period}, {"--sync-timeout", c.SyncTimeout}, {"--exechook-timeout", c.ExechookTimeout},
		{"--webhook-timeout", c.WebhookTimeout},
	} {
		if flag.value == 0 {
			return usagef("%s is 0: it has to be more", flag.name)
		}
	}
	if c.Repair && c.CheckDrift == 0 {
		return usagef("--repair needs --check-drift: how often to look for what has drifted")
	}
	if _, err := c.policy(); err != nil {
		return err
	}
	if c.KeepReleases < 0 {
		return usagef("--keep-releases is %d: none is 0", c.KeepReleases)
	}
	if w := c.webhook(); w != nil {
		if err := w.Check(); err != nil {
			return usagef("the webhook: %w", err)
		}
	}
	return nil
}

// webhook is nil if there is none.
func (c *agentRunCmd) webhook() *hook.Webhook {
	if c.WebhookURL == "" {
		return nil
	}
	return &hook.Webhook{
		URL: c.WebhookURL, Method: c.WebhookMethod, Status: c.WebhookSuccessStatus, Timeout: time.Duration(c.WebhookTimeout),
	}
}

func (c *agentRunCmd) config(a *app, log *slog.Logger, listener net.Listener) agent.Config {
	version, _ := buildVersion()
	cfg := agent.Config{
		Root: c.Root, Link: c.Link, Name: c.Name, Ring: c.Ring, Dial: c.dialer(a), Judge: c.judger(a), Remedy: remedyOf,
		OneTime: c.OneTime, Period: time.Duration(c.Period), SyncTimeout: time.Duration(c.SyncTimeout),
		MaxFailures: c.MaxFailures, KeepReleases: c.KeepReleases, StaleTimeout: time.Duration(c.StaleWorktreeTimeout),
		TouchFile: c.TouchFile, ErrorFile: c.ErrorFile, HTTP: listener, Version: version, Log: log,
		NoLink: c.NoLink, CheckDrift: time.Duration(c.CheckDrift), Repair: c.Repair,
		AgeIdentity: c.AgeIdentity, AgeOptional: c.Age == "optional",
		Backoff: agent.Backoff{Exechook: time.Duration(c.ExechookBackoff), Webhook: time.Duration(c.WebhookBackoff)},
	}
	if c.Witnesses != "" {
		cfg.Choose, cfg.Watch = c.chooser(a), "/refship/"+store.CosignaturePrefix
	}
	command := func(name, line string, timeout interval) *hook.Command {
		if line == "" {
			return nil
		}
		return &hook.Command{
			Line: line, Timeout: time.Duration(timeout), Env: hook.Environ(),
			Tell: func(said string) { log.Info(name, "said", said) },
		}
	}
	cfg.Prepare = command("prepare", c.PrepareCommand, 0)
	cfg.Exechook = command("exechook", c.ExechookCommand, c.ExechookTimeout)
	cfg.Webhook = c.webhook()
	return cfg
}

// dialer gives what connects to the chain; it says once which one that is.
func (c *agentRunCmd) dialer(a *app) func(context.Context) (*etcd.Client, record.Namespace, error) {
	told := false
	return func(ctx context.Context) (*etcd.Client, record.Namespace, error) {
		asking := a
		if told {
			asking = a.silent()
		}
		client, ns, err := c.open(ctx, asking, c.Chain)
		if err == nil && !told {
			a.say("node %s follows %s in %s", c.Name, ns, text.Printable(c.Root))
			told = true
		}
		return client, ns, err
	}
}

// judger gives what says whether a deploy can be trusted; it says of each deploy once what is to be said of its signer.
func (c *agentRunCmd) judger(a *app) func(context.Context, *store.Chain, *record.Deploy) error {
	var told record.Ref
	return func(ctx context.Context, chain *store.Chain, d *record.Deploy) error {
		asking, is := a, record.Ref{ID: d.ID, SHA256: record.Sum(d.RecordBytes)}
		if is == told {
			asking = a.silent()
		}
		told = is
		return c.judge(ctx, asking, chain, d, true)
	}
}

// chooser gives what finds the wanted deploy, or the newest one that enough witnesses have cosigned. The file may change
// meanwhile.
func (c *agentRunCmd) chooser(
	a *app,
) func(ctx context.Context, chain *store.Chain, head, wanted *record.Deploy) (*record.Deploy, error) {
	judge := c.judger(a)
	return func(ctx context.Context, chain *store.Chain, head, wanted *record.Deploy) (*record.Deploy, error) {
		policy, err := c.policy()
		if err != nil {
			return nil, err
		}
		covered, err := policy.Covered(ctx, chain, head.ID)
		if err != nil {
			return nil, err
		}
		if wanted.ID <= covered.Size {
			return wanted, covered.Has(ctx, chain, wanted)
		}
		return covered.Deploy, judge(ctx, chain, covered.Deploy)
	}
}

// silent is the app without speech, for what was said before.
func (a *app) silent() *app {
	quiet := *a
	quiet.stderr, quiet.speech = io.Discard, nil
	return &quiet
}

type agentAcceptCmd struct {
	Root string `required:"" variable:"" gitsync:"" placeholder:"DIR" help:"The node's --root."`
}

func (*agentAcceptCmd) Help() string {
	return "Each deploy leads back to the one before. A node refuses one that does not lead back to what it has seen " +
		"last: the chain was restored from an older backup, or somebody has written it anew. This accepts the very deploy " +
		"that was refused, not a later one, and an agent that runs in that root then switches within a second or two."
}

// Run accepts what was refused.
func (c *agentAcceptCmd) Run(_ context.Context, a *app) error {
	refused, err := site.Accept(c.Root)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "accepted: %s is at %s, in place of %s\n",
		refused.Is.Namespace, refused.Is.String(), refused.Was.String())
	return err
}
