package main

import (
	"context"
	"errors"
	"fmt"
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

// openChain is a chain and the connection it is read over.
type openChain struct {
	*store.Chain
	client *etcd.Client
}

func (c *openChain) Close() error { return c.client.Close() }

// open finds the namespace, then connects to the etcd that holds it.
func (f *chainFlags) open(ctx context.Context, a *app) (*openChain, error) {
	if err := f.etcdFlags.check(); err != nil {
		return nil, err
	}
	ns, err := f.namespace(a)
	if err != nil {
		return nil, err
	}
	log := quietLog(a)
	client, err := f.connect(ctx, a, log)
	if err != nil {
		return nil, err
	}
	return &openChain{Chain: store.Open(client, ns), client: client}, nil
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

// servesEtcd tells whether a server with an embedded etcd is running. A client would go on dialling a socket that is not
// there until its timeout.
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
		What: "no server with an etcd of its own is running on " + dir.path + ": etcd unreachable",
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

// deploy reads the deploy that the user named.
func (c *openChain) deploy(ctx context.Context, want deployID) (*record.Deploy, error) {
	if !want.head {
		d, err := c.Get(ctx, want.id)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return d, err
		}
	}
	head, err := c.Head(ctx)
	switch {
	case err != nil:
		return nil, err
	case head == nil && want.head:
		return nil, fmt.Errorf("no head in %s: the chain is empty", c.Namespace())
	case head == nil:
		return nil, fmt.Errorf("no deploy %d in %s: the chain is empty", want.id, c.Namespace())
	case want.head:
		return head, nil
	}
	return nil, fmt.Errorf("no deploy %d in %s: the head is %d", want.id, c.Namespace(), head.ID)
}
