package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"refship/deploy/agent"
	"refship/deploy/agent/secret"
	"refship/deploy/bundle"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/hooks/status"
)

type nodesCmd struct {
	chainFlags
	Chain      string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
	JSON       bool   `help:"Print one JSON object a node."`
	Watch      bool   `help:"Print nodes again when they change, until a signal comes."`
	Recipients bool   `help:"Print whom to encrypt secrets to, for age -R: what each node says is its public key. Confirm it with the node's operator."`
	Forget     string `placeholder:"NAME" help:"Remove the report of a node that is gone."`
}

func (*nodesCmd) Help() string {
	return "The exit status is 3 if a node does not run the head, or what it runs has drifted. Nodes say all of this of themselves."
}

// nodeJSON is a node for programs.
type nodeJSON struct {
	*record.NodeReport
	Alive    *bool           `json:"alive,omitempty"`   // absent of a host of mgmt's: it is not known
	Behind   bool            `json:"behind"`            // it does not run the head
	Released bool            `json:"released"`          // it may run the head
	Rollout  *record.Rollout `json:"rollout,omitempty"` // of the head
}

// Run prints the nodes.
func (c *nodesCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	name, err := c.chainName(a, c.Chain)
	if err != nil {
		return err
	}
	if bundle.IsOf(name) {
		return fault.New(fault.Usage, text.Printable(name)+" is a bundle, which has no nodes",
			"nodes report to the etcd that they run deploys of: refship nodes REPO, or --namespace NS")
	}
	client, ns, err := c.open(ctx, a, name)
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	chain := store.Open(client, ns)
	if c.Forget != "" {
		return c.forget(ctx, a, client, chain)
	}
	if c.Recipients {
		return printRecipients(ctx, a, chain)
	}
	out := bufio.NewWriter(a.stdout)
	p := &nodePrinter{cmd: c, a: a, chain: chain, out: out}
	amiss, err := p.print(ctx)
	switch {
	case err != nil:
		return err
	case c.Watch:
		return agent.WatchNodes(ctx, client, chain, func() error {
			_, err := p.print(ctx)
			return err
		})
	case amiss:
		return exitError(exitConflict)
	}
	return nil
}

// forget removes a node's report.
func (c *nodesCmd) forget(ctx context.Context, a *app, client *etcd.Client, chain *store.Chain) error {
	if err := record.CheckNodeName(c.Forget); err != nil {
		return asUsage("--forget", err)
	}
	if err := agent.Forget(ctx, client, chain, c.Forget); err != nil {
		return err
	}
	a.say("forgot node %s of %s", c.Forget, chain.Namespace())
	return nil
}

// printRecipients prints a file for age -R.
func printRecipients(ctx context.Context, a *app, chain *store.Chain) error {
	nodes, err := chain.Reports(ctx)
	if err != nil {
		return err
	}
	found := 0
	for _, n := range nodes {
		for line := range strings.Lines(n.Recipient) {
			recipient := strings.TrimSpace(line)
			sum, err := secret.Fingerprint(recipient)
			if err != nil { // any writer can have put any value
				a.warn(fmt.Errorf("node %s says what is no recipient: %w", text.Mention(n.Name), err))
				continue
			}
			found++
			if _, err := fmt.Fprintf(a.stdout, "# %s, %s\n%s\n", text.Printable(n.Name), sum, recipient); err != nil {
				return err
			}
		}
	}
	if found == 0 {
		a.say("no node of %s has said what to encrypt to", chain.Namespace())
		return nil
	}
	a.say("nodes say this of themselves: compare it with refship agent's own, before you trust it with a secret")
	return nil
}

// nodePrinter prints the nodes of a chain.
type nodePrinter struct {
	cmd   *nodesCmd
	a     *app
	chain *store.Chain
	out   *bufio.Writer
	last  map[string]string // what was printed of each node
	where string            // what was said of all of them
}

// print prints the nodes that it has not printed as they are, and tells whether one does not run the head as it was
// deployed.
func (p *nodePrinter) print(ctx context.Context) (amiss bool, err error) {
	nodes, err := status.ReadNodes(ctx, p.chain)
	if err != nil {
		return false, err
	}
	first := p.last == nil
	if err := p.tell(nodes, first); err != nil {
		return false, err
	}
	table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	printed := map[string]string{}
	for _, n := range nodes.All {
		is := nodes.IsBehind(n)
		amiss = amiss || nodes.IsAmiss(n)
		stands := fmt.Sprint(*n.NodeReport, n.Alive, is)
		printed[n.Name] = stands
		if !first && p.last[n.Name] == stands {
			continue
		}
		if p.cmd.JSON {
			err = writeJSON(p.out, describeNode(n, nodes.State, is))
		} else {
			_, err = fmt.Fprintln(table, nodes.Line(n, p.a.now()))
		}
		if err != nil {
			return false, err
		}
	}
	p.last = printed
	if err := table.Flush(); err != nil {
		return false, err
	}
	return amiss, p.out.Flush()
}

func describeNode(n store.Node, state *record.State, behind bool) nodeJSON {
	described := nodeJSON{NodeReport: n.NodeReport, Behind: behind, Released: state.Rollout.Allows(n.Ring, state.Head)}
	if !n.Host {
		described.Alive = &n.Alive
	}
	if state.Rollout.IsOf(state.Head) {
		described.Rollout = state.Rollout
	}
	return described
}

// tell says what stands above the table, once and when it is something else. A namespace without nodes and deploys may
// be a typing error.
func (p *nodePrinter) tell(nodes *status.Nodes, first bool) error {
	if first && nodes.State.Head == nil && len(nodes.All) == 0 {
		if err := p.cmd.checkKnown(p.a, p.chain.Namespace()); err != nil {
			return err
		}
	}
	lines := nodes.Where(p.chain, p.a.now())
	if where := strings.Join(lines, "\n"); where != p.where {
		p.where = where
		for _, line := range lines {
			p.a.say("%s", line)
		}
	}
	return nil
}
