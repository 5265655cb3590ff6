package main

import (
	"context"

	"refship/cmd/refship/monitor"
	"refship/deploy/etcd"
)

// openMonitor starts the HTTP server of --http, and gives what to tell the operator about it. The monitor is nil
// without that flag. From now on it observes etcd's client.
func (s *server) openMonitor(ctx context.Context) (*monitor.Monitor, []string, error) {
	if s.flags.HTTP == "" {
		return nil, nil, nil
	}
	listener, err := listen(ctx, "--http", s.flags.HTTP)
	if err != nil {
		return nil, nil, err
	}
	version, revision := buildVersion()
	var m *monitor.Monitor
	s.page = s.newPage(ctx, func() *monitor.Monitor { return m })
	m = monitor.New(monitor.Config{
		Listener: listener, Profiles: s.flags.HTTPProfiles, Page: s.page, DataDir: s.dir.path, Repos: s.dir.repos(), Store: s.store,
		EtcdOps: etcd.RequestOps(), Version: version, Revision: revision, Log: s.log,
	})
	observe := func(r etcd.Request) { m.EtcdRequest(r.Op, r.Took, r.Code) }
	s.etcd.client.KV = etcd.Observed(s.etcd.client.KV, observe)
	s.etcd.client.Lease = etcd.ObservedLease(s.etcd.client.Lease, observe)
	m.Start()
	addr := listener.Addr().String()
	lines := []string{"http on http://" + addr}
	if s.flags.HTTPProfiles {
		lines = append(lines,
			"warning: everyone who can reach "+addr+" can read the memory of this process at /debug/pprof")
	}
	return m, lines, nil
}
