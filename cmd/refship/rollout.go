package main

import (
	"context"
	"time"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/hooks"
	"refship/hooks/permit"
)

// ownerTTL is how long a server that has died still owns rollouts.
const ownerTTL = 15 * time.Second

type promoteCmd struct {
	changeFlags
	Chain string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
}

func (*promoteCmd) Help() string {
	return "A target with --rings releases each deploy to one ring of nodes after the other, and a server goes on when all " +
		"nodes of a ring have run it for --ring-pause. This goes on now: whatever those nodes do, where a ring has no node, " +
		"where a failure has stopped it, and without a server. A chain that is on hold does not go on."
}

// Run releases the next ring.
func (c *promoteCmd) Run(ctx context.Context, a *app) error {
	return c.change(ctx, a, c.Chain, func(d *openDeployer, at hooks.Place) error {
		said, err := d.Promote(ctx, at, permit.PusherFromEnv(a.getenv))
		if err == nil {
			a.say("%s", said)
		}
		return err
	})
}

// published tells those who look after rollouts, and who tell others, that there is a deploy, while its pusher may still wait for nodes.
func (s *server) published() {
	select {
	case s.pushed <- struct{}{}:
	default: // they know
	}
	s.notifier.Poke()
}

// rollOut takes deploys from ring to ring until ctx ends, as far as no other server does.
func (s *server) rollOut(ctx context.Context, hookServer *hooks.Server, host string, self func() string) error {
	return rollout.Run(ctx, rollout.Config{
		Client: s.etcd.client, Store: s.store, LeaseTTL: ownerTTL, Host: host, Server: self, Log: s.log,
		Chains: s.ringed, Pushed: s.pushed,
		Rollback: func(ctx context.Context, ns record.Namespace, back *rollout.Back) error {
			return s.rollBack(ctx, hookServer, host, ns, back)
		},
	})
}

// ringed are the chains whose targets have rings.
func (s *server) ringed() (map[record.Namespace]record.Rings, error) {
	listed, err := s.dir.repos().List() // with an error, those that can be read are there
	all := map[record.Namespace]record.Rings{}
	for _, repo := range listed {
		for _, t := range repo.Targets {
			if t.Rings.Names != "" {
				all[t.Namespace] = t.Rings
			}
		}
	}
	return all, err
}

// rollBack publishes an earlier deploy again, in the server's own name.
func (s *server) rollBack(
	ctx context.Context, hookServer *hooks.Server, host string, ns record.Namespace, back *rollout.Back,
) error {
	listed, err := s.dir.repos().List()
	at := findPlace(listed, ns)
	if at.Target.Name == "" {
		if err == nil {
			err = fault.Newf(fault.Conflict, "no target deploys to %s any more", ns)
		}
		return err
	}
	_, err = hookServer.Rollback(ctx, &hooks.Rollback{
		Place: at, Deploy: back.To.String(), From: back.From, Reason: back.Why,
		Who:  record.Pusher{Name: host, Via: "rollout"},
		Tell: func(line string) { s.log.InfoContext(ctx, "rollout", "namespace", string(ns), "said", line) },
	})
	return err
}
