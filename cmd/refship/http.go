package main

import (
	"context"
	"fmt"
	"time"

	"refship/cmd/refship/monitor"
	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

// openMonitor starts the HTTP server of --http, and gives what to tell the operator about it. The monitor is nil without
// that flag. From now on it observes etcd's client.
func (s *server) openMonitor(ctx context.Context, store *deploy.Store) (*monitor.Monitor, []string, error) {
	if s.flags.HTTP == "" {
		return nil, nil, nil
	}
	listener, err := listen(ctx, "--http", s.flags.HTTP)
	if err != nil {
		return nil, nil, err
	}
	version, revision := buildVersion()
	m := monitor.New(monitor.Config{
		Listener: listener, Profiles: s.flags.HTTPProfiles, DataDir: s.dir.path, Repos: s.dir.repos(), Store: store,
		EtcdOps: etcd.RequestOps(), Version: version, Revision: revision, Log: s.log,
	})
	observe := func(r etcd.Request) { m.EtcdRequest(r.Op, r.Took, r.Code) }
	s.store.client.KV = etcd.Observed(s.store.client.KV, observe)
	s.store.client.Lease = etcd.ObservedLease(s.store.client.Lease, observe)
	m.Start()
	addr := listener.Addr().String()
	lines := []string{"http on http://" + addr}
	if s.flags.HTTPProfiles {
		lines = append(lines,
			"warning: everyone who can reach "+addr+" can read the memory of this process at /debug/pprof")
	}
	return m, lines, nil
}

// permissionTime bounds the look at etcd's permissions at the start.
const permissionTime = 2 * time.Second

// warnDenied warns of each namespace whose pushes will be refused, because etcd's role may not write there.
func (s *server) warnDenied(ctx context.Context, store *deploy.Store, repos []*repos.Repository) {
	var targets []target.Target
	for _, repo := range repos {
		targets = append(targets, repo.Targets...)
	}
	ctx, cancel := context.WithTimeout(ctx, permissionTime)
	defer cancel()
	denied, err := store.Denied(ctx, target.Namespaces(targets))
	if err != nil {
		s.warn(err)
	}
	for _, err := range denied {
		s.warn(fmt.Errorf("%w; %s", err, fault.RemedyOf(err)))
	}
}
