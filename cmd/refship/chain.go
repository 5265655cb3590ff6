package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"refship/cmd/refship/overssh"
	"refship/deploy/bundle"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

// read opens a chain for do, which writes to standard output. name is "" for that of --namespace, or the only one.
func (f *chainFlags) read(
	ctx context.Context, a *app, name string, do func(chain *store.Chain, out io.Writer) error,
) (err error) {
	if err := f.etcdFlags.check(); err != nil {
		return err
	}
	chain, from, err := f.openToRead(ctx, a, name)
	if err != nil {
		return err
	}
	defer closeInto(&err, from)
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	defer func() {
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
	}()
	return f.orInterrupt(ctx, do(chain, out))
}

// openToRead opens the chain that is named: in an etcd, which may be on another machine, or in a bundle.
func (f *chainFlags) openToRead(ctx context.Context, a *app, name string) (*store.Chain, io.Closer, error) {
	name, err := f.chainName(a, name)
	if err != nil {
		return nil, nil, err
	}
	if bundle.IsOf(name) {
		return f.openBundle(a, name)
	}
	client, ns, err := f.open(ctx, a, name)
	if err != nil {
		return nil, nil, err
	}
	return store.Open(client, ns), client, nil
}

// openBundle opens a bundle by its path.
func (f *chainFlags) openBundle(a *app, path string) (*store.Chain, io.Closer, error) {
	if err := f.checkEndpoints(a, "a bundle and --endpoints can't be given together: the chain is in the file"); err != nil {
		return nil, nil, err
	}
	f.isElsewhere = true
	file, err := bundle.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return file.Chain(), file, nil
}

// checkEndpoints refuses --endpoints on the command line for a chain whose name says where it is.
func (f *chainFlags) checkEndpoints(a *app, what string) error {
	fromEnv, _ := a.getenv("REFSHIP_ENDPOINTS")
	if len(f.Endpoints) > 0 && strings.Join(f.Endpoints, ",") != fromEnv {
		return usagef("%s", what)
	}
	return nil
}

// interruptTime is how much later than ssh's end an interrupt may be known here.
const interruptTime = 500 * time.Millisecond

// orInterrupt gives the error of a reader. An interrupt on a terminal ends ssh, too: then that is what happened, and
// not that the other side has gone.
func (f *chainFlags) orInterrupt(ctx context.Context, err error) error {
	if err == nil || !f.isElsewhere || !fault.Is(err, fault.Unavailable) {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(interruptTime):
		return err
	}
}

// readDeploy is read, with one deploy of the chain. strict: it must be one that can be trusted, where that is known.
func (f *chainFlags) readDeploy(
	ctx context.Context, a *app, name deployName, strict bool,
	do func(chain *store.Chain, d *record.Deploy, out io.Writer) error,
) error {
	chain, id, err := f.resolve(a, name)
	if err != nil {
		return err
	}
	return f.read(ctx, a, chain, func(chain *store.Chain, out io.Writer) error {
		d, err := f.find(ctx, a, chain, id)
		if err != nil {
			return err
		}
		if err := f.judge(ctx, a, chain, d, strict); err != nil {
			return err
		}
		return do(chain, d, out)
	})
}

// open connects to the etcd of the chain that is named, which may be on another machine, and finds its namespace.
func (f *chainFlags) open(ctx context.Context, a *app, name string) (
	client *etcd.Client, ns record.Namespace, err error,
) {
	if name, err = f.chainName(a, name); err != nil {
		return nil, "", err
	}
	if overssh.Is(name) {
		client, ns, err = f.openOverSSH(ctx, a, name)
		return client, ns, f.orInterrupt(ctx, err)
	}
	if ns, err = f.namespace(a, name); err != nil {
		return nil, "", err
	}
	client, err = f.connect(ctx, a, quietLog(a))
	return client, ns, err
}

// openOverSSH opens a chain of another machine.
func (f *chainFlags) openOverSSH(ctx context.Context, a *app, name string) (
	client *etcd.Client, ns record.Namespace, err error,
) {
	const both = "an ssh:// chain and --endpoints can't be given together: ssh's server knows its etcd"
	if err := f.checkEndpoints(a, both); err != nil {
		return nil, "", err
	}
	address, err := overssh.Parse(name)
	if err != nil {
		return nil, "", err
	}
	f.isElsewhere = true
	client, namespace, err := address.Dial(ctx, overssh.Config{
		Command: overssh.CommandFromEnv(a.getenv), Stderr: a.stderr, Log: quietLog(a),
	})
	if err != nil {
		return nil, "", err
	}
	if ns, err = record.ParseNamespace(namespace); err != nil {
		return nil, "", errors.Join(err, client.Close())
	}
	return client, ns, nil
}

// namespace is that of the chain that is named, or else of --namespace, of REFSHIP_CHAIN, or the only one that the data
// directory's repositories deploy to.
func (f *chainFlags) namespace(a *app, name string) (record.Namespace, error) {
	name, err := f.chainName(a, name)
	if err != nil {
		return "", err
	}
	if name != "" {
		at, err := f.findChain(a, name)
		return at.Target.Namespace, err
	}
	if f.Namespace != "" {
		return parseNamespace(f.Namespace)
	}
	dir, err := f.dir(a)
	if err != nil {
		return "", err
	}
	listed, err := dir.repos().List()
	if err != nil {
		return "", err
	}
	known := target.Namespaces(repos.AllTargets(listed))
	switch len(known) {
	case 0:
		return "", usagef("no chain is named, and no repository in %s deploys to one", dir.path)
	case 1:
		a.say("namespace %s (the only one in %s)", known[0], dir.path)
		return known[0], nil
	}
	return "", usagef("no chain is named, and %s knows %d: %s", dir.path, len(known), chainNames(listed))
}

// checkKnown refuses a namespace without deploys in the etcd of a data directory, if no repository there deploys to it:
// it may be a typing error.
func (f *chainFlags) checkKnown(a *app, ns record.Namespace) error {
	if len(f.Endpoints) > 0 || f.isElsewhere {
		return nil
	}
	dir, err := f.dir(a)
	if err != nil {
		return err
	}
	listed, err := dir.repos().List()
	if err != nil {
		return err
	}
	known := target.Namespaces(repos.AllTargets(listed))
	if slices.Contains(known, ns) {
		return nil
	}
	remedy := "no repository there deploys anything"
	if len(known) > 0 {
		remedy = "its repositories deploy to " + joinNamespaces(known)
	}
	return fault.New(fault.Refused, fmt.Sprintf("%s has no deploy, and no repository in %s deploys to it", ns, dir.path),
		remedy)
}

func joinNamespaces(all []record.Namespace) string {
	var names []string
	for _, ns := range all {
		names = append(names, string(ns))
	}
	return strings.Join(names, ", ")
}

func parseNamespace(s string) (record.Namespace, error) {
	ns, err := record.ParseNamespace(s)
	if err != nil {
		return "", asUsage("--namespace", err)
	}
	return ns, nil
}

// connect dials --endpoints, or else the etcd of the server that runs on the data directory.
func (f *storeFlags) connect(ctx context.Context, a *app, log *slog.Logger) (*etcd.Client, error) {
	if len(f.Endpoints) > 0 {
		return etcd.Dial(ctx, f.config(log))
	}
	dir, err := f.dir(a)
	if err != nil {
		return nil, err
	}
	if !dir.servesEtcd() {
		return nil, noServer(dir)
	}
	return etcd.Dial(ctx, etcd.Config{Endpoints: []string{etcd.Socket(dir.etcd())}, Log: log})
}

// ownEtcdWords say which etcd is used where none was named.
func ownEtcdWords(dir dataDir) string {
	return "etcd of the server that runs on " + text.Printable(dir.path)
}

// servesEtcd tells whether a server with an embedded etcd is running. A client would dial a socket that is not there
// until its timeout.
func (d dataDir) servesEtcd() bool {
	conn, err := net.Dial("unix", etcd.SocketPath(d.etcd()))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func noServer(dir dataDir) error {
	return &fault.Error{
		What: "no server with an embedded etcd is running on " + dir.path + ": etcd unreachable",
		Remedy: "if its server uses --endpoints, give the same here\n" +
			"else start it with: refship serve" + dir.flag(),
		Cause: etcd.ErrUnreachable,
	}
}

// find reads a deploy from its chain. Where that has none, its namespace must be one that checkKnown knows.
func (f *chainFlags) find(
	ctx context.Context, a *app, chain *store.Chain, id record.Selector,
) (*record.Deploy, error) {
	d, err := chain.Find(ctx, id)
	if errors.Is(err, store.ErrEmpty) {
		if err := f.checkKnown(a, chain.Namespace()); err != nil {
			return nil, err
		}
	}
	return d, err
}
