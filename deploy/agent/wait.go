package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
)

// acceptedEvery is how often a node that was refused looks for its operator's word.
const acceptedEvery = time.Second

// wait waits for a change of the chain after a revision, for a reason to read the head anew, or until it is time. The
// error is that of a connection that is of no use any more.
func (a *Agent) wait(ctx context.Context, client *etcd.Client, chain *store.Chain, revision int64) error {
	below := "/deploy/"
	if a.cfg.Choose != nil {
		below = a.cfg.Watch
	}
	changes, stop := watch(ctx, client, string(chain.Namespace())+below, revision+1)
	defer stop()
	var releases <-chan clientv3.WatchResponse
	if a.rings != nil {
		rollout, stop := watch(ctx, client, chain.Key(record.RolloutKey), revision+1)
		defer stop()
		releases = rollout
	}
	var accepted <-chan time.Time
	if a.refused {
		every := time.NewTicker(acceptedEvery)
		defer every.Stop()
		accepted = every.C
	}
	timer := time.NewTimer(a.nextTry())
	defer timer.Stop()
	w, ofRings := watched{revision: revision}, watched{revision: revision}
	looked, stopLooking := a.looking(ctx)
	defer func() { stopLooking() }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			a.broken = 0
			return nil
		case f := <-looked:
			stopLooking()
			if a.takeIn(ctx, chain, &f); f.isGone() {
				return nil
			}
			looked, stopLooking = a.looking(ctx)
		case <-accepted:
			if a.site.HasAccepted() {
				return nil
			}
		case resp, open := <-changes:
			if done, err := a.heard(ctx, chain, &w, resp, open); done {
				return err
			}
		case resp, open := <-releases:
			if done, err := a.heard(ctx, chain, &ofRings, resp, open); done {
				return err
			}
		}
	}
}

// heard takes in what a watch has said, and tells whether the head has to be read anew.
func (a *Agent) heard(
	ctx context.Context, chain *store.Chain, w *watched, resp clientv3.WatchResponse, open bool,
) (done bool, err error) {
	if !open {
		return true, fmt.Errorf("watch %s: %w", chain.Namespace(), etcd.ErrUnreachable)
	}
	switch why := w.see(&resp); why {
	case "":
		return false, nil
	case changed:
		a.broken = 0
	default:
		a.log.WarnContext(ctx, "the head is read anew", "reason", why)
		a.broken++
		sleep(ctx, pause(a.broken, longestReconnect))
	}
	return true, nil
}

// watch watches what begins with prefix, from a revision on, until stop is called. etcd's client itself returns no
// channel before etcd has answered.
func watch(ctx context.Context, client *etcd.Client, prefix string, revision int64) (
	changes <-chan clientv3.WatchResponse, stop func(),
) {
	ctx, cancel := context.WithCancel(ctx)
	seen, done := make(chan clientv3.WatchResponse), make(chan struct{})
	go func() {
		defer close(done)
		defer close(seen)
		for resp := range client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(),
			clientv3.WithRev(revision), clientv3.WithCreatedNotify(), clientv3.WithProgressNotify()) {
			select {
			case seen <- resp:
			case <-ctx.Done():
			}
		}
	}()
	return seen, func() {
		cancel()
		<-done
	}
}

// nextTry is in how long the head is read again though nothing is heard.
func (a *Agent) nextTry() time.Duration {
	if a.failures > 0 {
		return pause(a.failures, longestRetry)
	}
	return a.cfg.Period - a.cfg.Period/8 + rand.N(max(1, a.cfg.Period/4)) // many nodes do not ask together
}

// changed is what a watch has seen: a key of a deploy, or what Config.Choose goes by.
const changed = "changed"

// watched is what the answers of a watch have said.
type watched struct {
	cluster  uint64 // id; 0: not known yet
	revision int64
}

// see says why the head has to be read anew after an answer; "" if it has not.
func (w *watched) see(resp *clientv3.WatchResponse) (why string) {
	if err := resp.Err(); err != nil {
		return etcd.Classify(err).Error()
	}
	switch {
	case w.cluster != 0 && resp.Header.GetClusterId() != w.cluster:
		return "etcd is another cluster"
	case resp.Header.GetRevision() < w.revision:
		return fmt.Sprintf("etcd's revision went back from %d to %d", w.revision, resp.Header.GetRevision())
	case len(resp.Events) > 0:
		return changed
	}
	w.cluster, w.revision = resp.Header.GetClusterId(), resp.Header.GetRevision()
	return ""
}
