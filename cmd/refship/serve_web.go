package main

import (
	"context"

	"refship/cmd/refship/monitor"
	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/gitserver/repos"
	"refship/gitserver/web"
	"refship/hooks/report"
)

// newPage makes the pages of --http. watch gives the monitor, which is made with them.
func (s *server) newPage(ctx context.Context, watch func() *monitor.Monitor) *web.Web {
	return web.New(web.Config{
		Viewer: s.door.Viewer,
		List: func() ([]web.Repository, error) {
			listed, err := s.dir.repos().List()
			var all []web.Repository
			for _, repo := range listed {
				all = append(all, shownRepository(repo))
			}
			return all, err
		},
		Find: func(name string) (web.Repository, error) {
			repo, err := s.dir.repos().Find(name)
			if err != nil {
				return web.Repository{}, err
			}
			return shownRepository(repo), nil
		},
		Chain:   func(ns record.Namespace) *store.Chain { return s.store.Chain(ns).Chain },
		Allowed: s.dir.readSigners,
		IsAhead: func(repository, target string) (ahead, known bool) { return watch().IsAhead(repository, target) },
		Changes: s.changes, Remedy: s.remedyOf, Done: ctx.Done(), Log: s.log,
	})
}

func shownRepository(repo *repos.Repository) web.Repository {
	shown := web.Repository{Name: repo.Name}
	for _, t := range repo.Targets {
		shown.Targets = append(shown.Targets, web.Target{Name: t.Name, Ref: t.Ref, Namespace: t.Namespace})
	}
	return shown
}

// changes tells when something of a chain has changed that its pages show. Contents are not among it.
func (s *server) changes(ctx context.Context, ns record.Namespace) (<-chan struct{}, func()) {
	chain := s.store.Chain(ns)
	spans := []etcd.Span{
		{Key: string(ns) + "/deploy/", Below: true}, {Key: chain.Key("hold")},
		{Key: chain.Key(record.RolloutKey), Below: true}, {Key: chain.Key(record.EventPrefix), Below: true},
		{Key: chain.Key(record.NodeKeys), Below: true}, {Key: chain.Key(record.AliveKeys), Below: true},
	}
	if ns.IsMgmt() {
		spans = append(spans, etcd.Span{Key: string(ns) + record.HostKeys, Below: true})
	}
	return etcd.Changes(ctx, s.etcd.client, spans...)
}

// phases are those of a delivery, as the pages name them.
var phases = map[report.Phase]web.Phase{
	report.Checking: web.Checking, report.Storing: web.Storing, report.Publishing: web.Publishing,
	report.Published: web.Published, report.Idle: web.Nothing, report.Failed: web.Refused,
}

// step tells the pages how far a delivery is.
func (s *server) step(is report.Step) {
	s.page.Push(web.Push{
		Key: is.Delivery, Namespace: is.Namespace, Repository: is.Repository, Target: is.Target, By: is.By, Hash: is.Hash,
		Phase: phases[is.Phase], ID: is.ID,
	})
}
