package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

const (
	// aliveTTL is how long a node that has died still seems to live.
	aliveTTL = 30 * time.Second
	// longestReportPause is how long a node waits at most, about, after a report that etcd has not taken.
	longestReportPause = time.Minute
	// switchingPasses is how long a switch may take that is not reported before it is done.
	switchingPasses = 500 * time.Millisecond
	// lastReport is how long the last report may take at the end.
	lastReport = 3 * time.Second
)

// ReasonNameTaken: another node lives under this one's name. About: the name.
const ReasonNameTaken fault.Reason = "node-name-taken"

// reporter puts what the node says of itself into etcd, beside the node's own work. Only the newest report is put.
type reporter struct {
	name, ring, version string
	id                  string // of the node's root: what its key says while it lives, so that it knows the key again
	log                 *slog.Logger
	remedy              func(error) string
	changed             chan struct{} // there is something to put

	mu     sync.Mutex
	said   record.NodeReport     // without hooks
	hooks  map[string]failedHook // by name
	latest *record.NodeReport

	told error // why reports are not put, since the last one that was; nil: they are
}

// failedHook is a hook that has not succeeded yet for a deploy; without an error it has not ended yet.
type failedHook struct {
	id  record.ID
	err error
}

func newReporter(cfg *Config, id string) *reporter {
	return &reporter{
		name: cfg.Name, ring: cfg.Ring, version: cfg.Version, id: id, log: cfg.Log, remedy: cfg.Remedy,
		changed: make(chan struct{}, 1), hooks: map[string]failedHook{},
	}
}

// say replaces the report; nothing is put if it says the same as the one before. That a deploy is tried again which has
// failed says less than why it has.
func (r *reporter) say(report record.NodeReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if report.State == record.NodeSwitching && r.said.State == record.NodeFailed && r.said.Wants == report.Wants {
		return
	}
	r.said = report
	r.update()
}

// hook takes in how a hook has ended for a deploy.
func (r *reporter) hook(name string, id record.ID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hooks, name)
	if err != nil {
		r.hooks[name] = failedHook{id, err}
	}
	r.update()
}

// hookBegins: a hook will run for a deploy, which is not said to run before the hook has ended.
func (r *reporter) hookBegins(name string, id record.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooks[name] = failedHook{id: id}
}

// update makes the latest report of what was said and of what hooks have failed. r.mu is held.
func (r *reporter) update() {
	report := r.said
	if report.State == "" {
		return
	}
	if report.State == record.NodeRunning {
		for _, name := range slices.Sorted(maps.Keys(r.hooks)) {
			if failed := r.hooks[name]; failed.id == report.ID && failed.err == nil {
				report.State, report.Wants = record.NodeSwitching, report.ID // for now
			} else if failed.id == report.ID {
				report.State, report.Wants, report.Failure = record.NodeFailed, report.ID, record.FailedHook
				report.Reason = fmt.Sprintf("%s of deploy %d failed: %v", name, report.ID, failed.err)
				break
			}
		}
	}
	report.Name, report.Ring, report.Version = r.name, r.ring, r.version
	if r.latest != nil {
		report.Time = r.latest.Time
		if report == *r.latest {
			return
		}
	}
	report.Time = time.Now().UTC()
	r.latest = &report
	r.wake()
}

func (r *reporter) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// reporting is a reporter over one connection.
type reporting struct {
	*reporter
	client *etcd.Client
	node   string // key
	alive  string // key
	stop   context.CancelFunc
	done   chan struct{}

	lease clientv3.LeaseID // 0: there is none
	kept  <-chan *clientv3.LeaseKeepAliveResponse
}

// start reports over a connection until end is called.
func (r *reporter) start(ctx context.Context, client *etcd.Client, chain *store.Chain) *reporting {
	ctx, stop := context.WithCancel(ctx)
	s := &reporting{
		reporter: r, client: client, stop: stop, done: make(chan struct{}),
		node: chain.Key(record.NodeKeys + r.name), alive: chain.Key(record.AliveKeys + r.name),
	}
	r.wake()
	go func() {
		defer close(s.done)
		s.run(ctx)
	}()
	return s
}

// end stops reporting. last: what has not been put yet is put, and the node is gone then.
func (s *reporting) end(last bool) {
	s.stop()
	<-s.done
	if !last {
		return // the lease runs out, or the next session's takes its place
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.client.Ctx()), lastReport)
	defer cancel()
	select {
	case <-s.changed:
		if err := s.put(ctx); err != nil {
			s.tell(ctx, err)
		}
	default:
	}
	if s.lease != 0 {
		_, _ = s.client.Revoke(ctx, s.lease) // else it runs out
	}
}

func (s *reporting) run(ctx context.Context) {
	failures := 0
	for {
		var again <-chan time.Time
		select {
		case <-ctx.Done():
			return
		case _, open := <-s.kept:
			if open {
				continue
			}
			s.lease, s.kept = 0, nil // it ran out
		case <-s.changed:
			s.passSwitching(ctx)
		}
		err := s.put(ctx)
		switch {
		case ctx.Err() != nil:
			s.wake() // for the end, or for the next session
			return
		case err != nil:
			s.tell(ctx, err)
			failures++
			again = time.After(pause(failures, longestReportPause))
		default:
			failures = 0
			s.tell(ctx, nil)
		}
		if again != nil {
			select {
			case <-ctx.Done():
			case <-again:
			case <-s.changed: // there is news
			}
			s.wake()
		}
	}
}

// passSwitching waits for what comes after a switch, which is there in a moment mostly: then one report says both.
func (s *reporting) passSwitching(ctx context.Context) {
	s.mu.Lock()
	switching := s.latest != nil && s.latest.State == record.NodeSwitching
	s.mu.Unlock()
	if !switching {
		return
	}
	select {
	case <-ctx.Done():
	case <-s.changed:
	case <-time.After(switchingPasses):
	}
}

// put puts the latest report, and takes care that the node is seen to live.
func (s *reporting) put(ctx context.Context) error {
	s.mu.Lock()
	latest := s.latest
	s.mu.Unlock()
	if s.lease == 0 {
		lease, err := etcd.Grant(ctx, s.client, int64(aliveTTL.Seconds()))
		if err != nil {
			return fmt.Errorf("grant lease: %w", err)
		}
		if s.kept, err = s.client.KeepAlive(ctx, lease); err != nil {
			return fmt.Errorf("keep lease alive: %w", etcd.Classify(err))
		}
		s.lease = lease
	}
	ops := []clientv3.Op{clientv3.OpPut(s.alive, s.id, clientv3.WithLease(s.lease))}
	if latest != nil {
		encoded, err := latest.Encode()
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(s.node, string(encoded)))
	}
	err := s.putOwn(ctx, ops)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		s.lease, s.kept = 0, nil
	}
	return err
}

// putOwn does so if no other node lives under the name: two would overwrite each other's reports. The key of this one's
// own earlier life, which may not have run out yet, is taken over.
func (s *reporting) putOwn(ctx context.Context, ops []clientv3.Op) error {
	kv := etcd.Bounded(s.client)
	for _, isOwn := range []clientv3.Cmp{
		clientv3.Compare(clientv3.Value(s.alive), "=", s.id), clientv3.Compare(clientv3.CreateRevision(s.alive), "=", 0),
	} {
		resp, err := kv.Txn(ctx).If(isOwn).Then(ops...).Commit()
		if err != nil || resp.Succeeded {
			return err
		}
	}
	return &fault.Error{
		Kind: fault.Conflict, What: fmt.Sprintf("another node is called %s, and lives", s.name),
		Reason: ReasonNameTaken, About: []string{s.name},
	}
}

// tell says that reports are not put, once for each kind of reason, and that they are again.
func (s *reporting) tell(ctx context.Context, err error) {
	switch {
	case err == nil && s.told != nil:
		s.log.InfoContext(ctx, "this node's report is in etcd")
	case err != nil && (s.told == nil || fault.KindOf(err) != fault.KindOf(s.told)):
		attrs := []any{"error", err}
		if remedy := s.remedy(err); remedy != "" {
			attrs = append(attrs, "hint", remedy)
		}
		s.log.WarnContext(ctx, "this node's report is not in etcd", attrs...)
	}
	s.told = err
}
