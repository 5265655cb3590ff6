package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
	"refship/keys"
)

// rotateSlack is for how long after its end a key that was replaced is still allowed: a deploy may be on its way that
// it has just signed, and clocks differ.
const rotateSlack = time.Minute

// rotationFlags say which chains a rotation counts.
type rotationFlags struct {
	storeFlags
	Namespace []string `sep:"none" placeholder:"NS" help:"Also count this chain, which is no target's: refship deploy --namespace makes such. May be given several times."`
}

type keysRotateCmd struct {
	rotationFlags
	Finish bool `help:"Take the old key away though chains have not moved: readers of those need the new key's line. For a key that was stolen."`
}

func (*keysRotateCmd) Help() string {
	return "The first call makes the next key. Each chain announces it with its next deploy, which the old key signs, and " +
		"is signed by it from the one after: who trusts the old key trusts the new one then. The server keeps both. " +
		"A call after all chains have moved takes the old key away; what it has signed up to then stays allowed, by a line " +
		"in keys/allowed_signers. The server may run meanwhile. Give the flags for etcd that the server has.\n\n" +
		"The chains of all targets count, and those of --namespace. One in another etcd cannot: let it move before the last " +
		"call, by two deploys with --signing-key and this server's key, or give its readers the new key's line (refship keys " +
		"signer)."
}

// Run begins a rotation, or ends it where all chains have moved.
func (c *keysRotateCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	s, err := dir.signingKeys()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Failed, dir.signingKey().path+" does not exist",
			"a server makes it when it starts for the first time; if it is lost: refship keys new"+dir.flag())
	case err != nil:
		return err
	case s.Next == nil:
		if s, err = beginRotation(a, dir); err != nil {
			return err
		}
	}
	log := quietLog(a)
	chains, err := c.readRotation(ctx, a, dir, s, log)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(chains), func(c chainRotation) bool { return c.done() })
	if len(left) > 0 && !c.Finish {
		for _, chain := range left {
			a.say("%s", chain.words())
		}
		a.say("the old key goes when all chains have moved: refship keys rotate%s%s, once more", dir.flag(), c.flags())
		if len(c.Namespace) == 0 {
			a.say("these are the chains of targets; another one that this key signs counts with --namespace NS")
		}
		return nil
	}
	return finishRotation(ctx, a, dir, s, log)
}

// flags are those that count chains, for a command in a sentence.
func (f *rotationFlags) flags() string {
	said := ""
	for _, ns := range f.Namespace {
		said += " --namespace " + text.Quote(ns)
	}
	return said
}

// beginRotation makes the next key.
func beginRotation(a *app, dir dataDir) (keys.Signers, error) {
	host, err := os.Hostname()
	if err != nil {
		return keys.Signers{}, fmt.Errorf("find host name: %w", err)
	}
	next, err := dir.nextSigningKey().loadOrCreate(host)
	if err != nil {
		return keys.Signers{}, err
	}
	a.say("made the next signing key %s: each chain announces it with its next deploy, and uses it from the one after",
		ssh.FingerprintSHA256(next.PublicKey()))
	return dir.signingKeys()
}

// finishRotation takes the old key away. First it is allowed up to now, in a file: a kill in between changes nothing
// that counts, and another call ends it.
func finishRotation(ctx context.Context, a *app, dir dataDir, s keys.Signers, log *slog.Logger) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find host name: %w", err)
	}
	now := a.now().UTC().Truncate(time.Second)
	old := &keys.Signer{
		Principals: keys.Principal(host), Namespaces: keys.Namespace, Before: now.Add(rotateSlack),
		PublicKey: s.Now.PublicKey(), Comment: "replaced on " + now.Format(time.DateOnly),
	}
	if err := keys.AppendSigners(dir.allowedSigners(), old); err != nil {
		return err
	}
	log.DebugContext(ctx, "step", "at", "old-key-allowed")
	if err := keys.Replace(dir.signingKey().path); err != nil {
		return err
	}
	a.say("%s is allowed up to %s: %s", ssh.FingerprintSHA256(s.Now.PublicKey()), old.Before.Format(time.RFC3339),
		dir.allowedSigners())
	end := old.Before.Format("20060102150405Z")
	a.say("the signing key is %s from now on; all who know the old one's line need this one's, too: refship keys signer%s; "+
		"and at the old one valid-before=\"%s\"", ssh.FingerprintSHA256(s.Next.PublicKey()), dir.flag(), end)
	return nil
}

// chainRotation is how far a chain is.
type chainRotation struct {
	Namespace record.Namespace
	deploy.Rotation
}

// done tells whether the chain needs the old key no more: one that neither key has signed never did.
func (c *chainRotation) done() bool { return c.By == nil || c.Moved }

func (c *chainRotation) words() string {
	switch {
	case c.By == nil:
		return string(c.Namespace) + ": signed by neither"
	case c.Moved:
		return fmt.Sprintf("%s: moved, deploy %d is signed by the new key", c.Namespace, c.By.ID)
	case c.Announced:
		return fmt.Sprintf("%s: announced by deploy %d, used from the next one on", c.Namespace, c.By.ID)
	}
	return fmt.Sprintf("%s: not announced, the next deploy does it", c.Namespace)
}

// counted are the chains of all targets, and those that are named.
func (f *rotationFlags) counted(dir dataDir) ([]record.Namespace, error) {
	listed, err := dir.repos().List()
	if err != nil {
		return nil, err
	}
	all := target.Namespaces(repos.AllTargets(listed))
	for _, name := range f.Namespace {
		ns, err := record.ParseNamespace(name)
		if err != nil {
			return nil, asUsage("--namespace", err)
		}
		if !slices.Contains(all, ns) {
			all = append(all, ns)
		}
	}
	return all, nil
}

// readRotation looks at the chains that count.
func (f *rotationFlags) readRotation(
	ctx context.Context, a *app, dir dataDir, s keys.Signers, log *slog.Logger,
) (chains []chainRotation, err error) {
	namespaces, err := f.counted(dir)
	if err != nil || len(namespaces) == 0 {
		return nil, err
	}
	client, err := f.connect(ctx, a, log)
	if err != nil {
		return nil, err
	}
	defer closeInto(&err, client)
	for _, ns := range namespaces {
		r, err := readRotated(ctx, client, ns, s)
		if err != nil {
			return nil, err
		}
		if r.By == nil && slices.Contains(f.Namespace, string(ns)) {
			return nil, fault.New(fault.Failed, fmt.Sprintf("no deploy of %s is signed by either key", ns),
				"leave it out, or name another one: --namespace NS")
		}
		chains = append(chains, chainRotation{ns, r})
	}
	return chains, nil
}

func readRotated(ctx context.Context, client *etcd.Client, ns record.Namespace, s keys.Signers) (
	deploy.Rotation, error,
) {
	chain := store.Open(client, ns)
	state, err := chain.State(ctx)
	if err != nil {
		return deploy.Rotation{}, err
	}
	return deploy.Rotated(ctx, chain.Down, state.Head, s)
}

type keysShowCmd struct {
	rotationFlags
	JSON bool `help:"Print one JSON object."`
}

func (*keysShowCmd) Help() string {
	return "Prints the fingerprints of the server's keys. While its signing key is rotated, it also says of each chain " +
		"whether that has announced the next key, and whether it uses it; for that it needs the flags for etcd that the " +
		"server has."
}

// keysJSON are a server's keys, for programs.
type keysJSON struct {
	Host    string      `json:"host_key"` // fingerprints
	Signing string      `json:"signing_key"`
	Next    string      `json:"next_signing_key"` // "": no rotation is under way
	Chains  []movedJSON `json:"chains"`           // of a rotation
}

type movedJSON struct {
	Namespace record.Namespace `json:"namespace"`
	Deploy    record.ID        `json:"deploy"` // the newest one that one of the two keys has signed; 0: there is none
	Announced bool             `json:"announced"`
	Moved     bool             `json:"moved"` // the next key signs
}

// Run prints the keys.
func (c *keysShowCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	host, err := keys.LoadOwn(dir.hostKey().path)
	if err != nil {
		return err
	}
	s, err := dir.signingKeys()
	if err != nil {
		return err
	}
	is := keysJSON{
		Host: ssh.FingerprintSHA256(host.PublicKey()), Signing: ssh.FingerprintSHA256(s.Now.PublicKey()),
		Chains: []movedJSON{},
	}
	lines := []string{"host key: " + is.Host, "signing key: " + is.Signing}
	if s.Next != nil {
		is.Next = ssh.FingerprintSHA256(s.Next.PublicKey())
		lines = append(lines, "next signing key: "+is.Next)
		chains, err := c.readRotation(ctx, a, dir, s, quietLog(a))
		if err != nil {
			return err
		}
		for _, chain := range chains {
			moved := movedJSON{chain.Namespace, 0, chain.Announced, chain.Moved}
			if chain.By != nil {
				moved.Deploy = chain.By.ID
			}
			is.Chains, lines = append(is.Chains, moved), append(lines, "  "+chain.words())
		}
	}
	if c.JSON {
		return writeJSON(a.stdout, is)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(a.stdout, text.Printable(line)); err != nil {
			return err
		}
	}
	return nil
}
