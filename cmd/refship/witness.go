package main

import (
	"context"
	"errors"
	"fmt"

	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/cmd/refship/overssh"
	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/witness"
	"refship/keys"
)

type witnessCmd struct {
	chainFlags
	SigningKey string `required:"" placeholder:"FILE" help:"Cosign with this ed25519 private key in OpenSSH's format, which is for nothing else."`
	Remember   string `required:"" placeholder:"FILE" help:"The checkpoint that was cosigned last. Keep it where who writes to etcd cannot write; without it the first one is believed."`
	Name       string `placeholder:"NAME" help:"What the witness is called: over SSH as its key on the server, or that and .SUFFIX. Default: the host's name."`
	Accept     bool   `help:"Take the chain as it is though it does not extend what was seen, and go on from there."`
	Chain      string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
}

func (*witnessCmd) Help() string {
	return "Checks that the head of a chain's log extends the one that it saw last, remembers it, and then cosigns it. So " +
		"nobody, the server with its key included, can show one history to some nodes and another one to others, or go " +
		"back to an older one unseen: nodes run what enough witnesses have cosigned (--witnesses). Run it every minute or " +
		"so, on another machine. (--key is the one of a TLS connection to etcd, as etcdctl has it.)"
}

func (c *witnessCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	key, err := c.identity()
	if err != nil {
		return err
	}
	unlock, err := disk.Lock(ctx, c.Remember+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	name, err := c.chainName(a, c.Chain)
	if err != nil {
		return err
	}
	client, ns, err := c.open(ctx, a, name)
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	head, err := c.see(ctx, a, store.Open(client, ns), key)
	if err != nil {
		return c.orInterrupt(ctx, err)
	}
	note, err := witness.Cosign(head.Checkpoint, c.Name, key, a.now())
	if err != nil {
		return err
	}
	if overssh.Is(name) {
		return c.send(ctx, a, name, note)
	}
	return c.put(ctx, a, client, ns, note)
}

// identity reads the witness's key, and finds its name.
func (c *witnessCmd) identity() (ssh.Signer, error) {
	var err error
	if c.Name == "" {
		if c.Name, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("find host name: %w", err)
		}
	}
	if err := record.CheckNodeName(c.Name); err != nil {
		return nil, asUsage("--name", err)
	}
	return keys.Load(c.SigningKey)
}

// see reads the head, proves that it extends the one that was seen, and remembers it.
func (c *witnessCmd) see(ctx context.Context, a *app, chain *store.Chain, key ssh.Signer) (*witness.Head, error) {
	head, err := c.readHead(ctx, a, chain)
	if err != nil {
		return nil, err
	}
	if by := head.Deploy.Record.Signer; by == ssh.FingerprintSHA256(key.PublicKey()) {
		return nil, usagef("--signing-key %s is the key that signs the deploys: a witness has one of its own",
			text.Printable(c.SigningKey))
	}
	earlier, err := parseCheckpoint(c.Remember)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.say("%s remembers deploy %d from now on", text.Printable(c.Remember), head.Size)
	case err != nil:
		return nil, err
	default:
		err := head.Extends(ctx, chain, earlier)
		reason, _ := fault.ReasonOf(err)
		switch {
		case reason == witness.ReasonForked && c.Accept:
			a.warn(err)
			a.say("accepted: %s remembers deploy %d from now on", text.Printable(c.Remember), head.Size)
		case reason == witness.ReasonForked:
			return nil, &fault.Error{Cause: err, Remedy: remedyOf(err) + "; if what is there now is right: --accept"}
		case err != nil:
			return nil, err
		case earlier == head.Checkpoint:
			return head, nil // it is on disk
		}
	}
	if err := disk.WriteFile(c.Remember, head.Signed, 0o644); err != nil {
		return nil, fmt.Errorf("remember the head: %w", err)
	}
	return head, nil
}

// maxAnswer bounds what a server says to a cosignature, in bytes.
const maxAnswer = 64 << 10

// send has the server store a cosignature.
func (c *witnessCmd) send(ctx context.Context, a *app, chain string, note []byte) error {
	address, err := overssh.Parse(chain)
	if err != nil {
		return err
	}
	answer, err := address.Send(ctx, overssh.Config{
		Command: overssh.CommandFromEnv(a.getenv), Stderr: a.stderr, Log: quietLog(a),
	}, "cosign", note, maxAnswer)
	for line := range strings.Lines(string(answer)) {
		a.say("%s", text.Printable(strings.TrimPrefix(strings.TrimSpace(line), "refship: ")))
	}
	return err
}

// put stores a cosignature in an etcd that may be written.
func (c *witnessCmd) put(
	ctx context.Context, a *app, client *etcd.Client, ns record.Namespace, note []byte,
) (err error) {
	s := newStore(client, nil, quietLog(a))
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	signed, err := s.Chain(ns).Cosign(ctx, note, "")
	if err != nil {
		return err
	}
	a.say("the log up to deploy %d of %s is cosigned by %s, %s", signed.Size, ns, signed.Name,
		signed.Time.Format(time.RFC3339))
	return nil
}

// witnessFlags are on commands that can want cosigned deploys.
type witnessFlags struct {
	Witnesses string `placeholder:"FILE" help:"Take only deploys that a checkpoint covers which witnesses have cosigned. FILE has a line NAME and public key for each."`
	Quorum    int    `placeholder:"N" help:"How many of them must have. Default: all."`
}

// policy reads the file; nil: nothing is wanted.
func (f *witnessFlags) policy() (*witness.Policy, error) {
	switch {
	case f.Witnesses == "" && f.Quorum != 0:
		return nil, usagef("--quorum is about --witnesses")
	case f.Witnesses == "":
		return nil, nil //nolint:nilnil // no cosignature is wanted
	}
	return witness.ReadPolicy(f.Witnesses, f.Quorum)
}

// covered gives the newest checkpoint that is cosigned; nil if none is wanted.
func (f *witnessFlags) covered(ctx context.Context, chain *store.Chain) (*witness.Covered, error) {
	p, err := f.policy()
	if p == nil {
		return nil, err
	}
	state, err := chain.State(ctx)
	if err != nil {
		return nil, err
	}
	id := record.ID(0)
	if state.Head != nil {
		id = state.Head.ID
	}
	return p.Covered(ctx, chain, id)
}
