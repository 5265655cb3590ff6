package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

// read opens the chain for do, which writes to standard output.
func (f *chainFlags) read(ctx context.Context, a *app, do func(chain *store.Chain, out io.Writer) error) (err error) {
	if err := f.etcdFlags.check(); err != nil {
		return err
	}
	ns, err := f.namespace(a)
	if err != nil {
		return err
	}
	client, err := f.connect(ctx, a, quietLog(a))
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	defer func() {
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
	}()
	return do(store.Open(client, ns), out)
}

// readDeploy is read, with one deploy of the chain.
func (f *chainFlags) readDeploy(
	ctx context.Context, a *app, id deployID, do func(chain *store.Chain, d *record.Deploy, out io.Writer) error,
) error {
	return f.read(ctx, a, func(chain *store.Chain, out io.Writer) error {
		d, err := id.find(ctx, chain)
		if err != nil {
			return err
		}
		return do(chain, d, out)
	})
}

// namespace is --namespace, or the only one that the data directory's repositories deploy to.
func (f *chainFlags) namespace(a *app) (record.Namespace, error) {
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
		return "", usagef("--namespace is missing, and no repository in %s deploys to one", dir.path)
	case 1:
		a.say("namespace %s (the only one in %s)", known[0], dir.path)
		return known[0], nil
	}
	var names []string
	for _, ns := range known {
		names = append(names, string(ns))
	}
	return "", usagef("--namespace is missing, and %s knows %d: %s", dir.path, len(known), strings.Join(names, ", "))
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

// deployID is an ID on the command line: a number, or head.
type deployID struct {
	head bool
	id   record.ID
}

func (d *deployID) UnmarshalText(text []byte) error {
	if d.head = string(text) == "head"; d.head {
		return nil
	}
	id, err := record.ParseID(string(text))
	if err != nil {
		return fmt.Errorf("%w, and not head", err)
	}
	d.id = id
	return nil
}

// find reads the deploy from its chain.
func (d *deployID) find(ctx context.Context, chain *store.Chain) (*record.Deploy, error) {
	if !d.head {
		found, err := chain.Get(ctx, d.id)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return found, err
		}
	}
	head, err := chain.Head(ctx)
	switch {
	case err != nil:
		return nil, err
	case head == nil && d.head:
		return nil, fmt.Errorf("no head in %s: the chain is empty", chain.Namespace())
	case head == nil:
		return nil, fmt.Errorf("no deploy %d in %s: the chain is empty", d.id, chain.Namespace())
	case d.head:
		return head, nil
	}
	return nil, fmt.Errorf("no deploy %d in %s: the head is %d", d.id, chain.Namespace(), head.ID)
}
