package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"refship/cmd/refship/monitor"
	"refship/deploy/etcd"
	"refship/deploy/gc"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/intent"
	"refship/hooks/target"
)

const (
	// firstGC is the longest time from the start to the first gc, so that it runs, too, in a server that never runs for as
	// long as --gc-every.
	firstGC = 20 * time.Minute
	// quietTime is how long a defragmentation waits for a moment without a push.
	quietTime = time.Minute
	// worthDefrag is which part of etcd's database must become free to defragment it.
	worthDefrag = 8
)

// errBusy is what a client is told that asks for a defragmentation while pushes go on and on.
var errBusy = errors.New("pushes are under way, and were for " + quietTime.String() + ": try again later")

// guardDefrag lets the embedded etcd defragment in a quiet moment only. Pushes that come meanwhile wait.
func (s *server) guardDefrag(hookServer *hooks.Server) {
	if s.etcd.embedded == nil {
		return
	}
	s.etcd.embedded.BeforeDefrag(func(ctx context.Context) (func(), error) {
		quiet, cancel := context.WithTimeoutCause(ctx, quietTime, errBusy)
		defer cancel()
		open, err := hookServer.Alone(quiet)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		return func() {
			open()
			s.log.InfoContext(ctx, "etcd has defragmented itself", "took", time.Since(began).Round(time.Millisecond))
		}, nil
	})
}

// collect runs gc for all targets again and again, until ctx ends.
func (s *server) collect(ctx context.Context, watch *monitor.Monitor, self func() string) error {
	first := firstGC
	if s.etcd.keptFree > 0 {
		first = 0
	}
	return s.nowAndThen(ctx, first, time.Duration(s.flags.GCEvery), func() {
		began := time.Now()
		done := s.collectAll(ctx, self())
		s.reclaim(ctx, &done)
		if ctx.Err() != nil {
			return
		}
		s.log.InfoContext(ctx, "gc", "deploys", done.Deploys, "keys", done.Keys, "bytes", done.Bytes,
			"etcd_won", done.Won, "failed", done.Failed, "took", time.Since(began).Round(time.Millisecond))
		watch.Collected(done)
	})
}

// collectAll runs gc for all targets once, one after the other. It ends early while etcd does not answer.
func (s *server) collectAll(ctx context.Context, self string) (done monitor.GC) {
	defer func() { done.Ended = time.Now() }()
	failed := func(about string, err error) {
		done.Failed++
		s.log.WarnContext(ctx, "gc failed", "about", about, "error", err, "hint", s.remedyOf(err))
	}
	host, _ := os.Hostname()
	listed, err := s.dir.repos().List() // with an error, those that can be read are there
	if err != nil {
		failed("some repositories", err)
	}
	for _, ns := range target.Namespaces(repos.AllTargets(listed)) {
		r, err := gc.Run(ctx, gc.Config{
			Store: s.store, KeepLast: gc.DefaultKeepLast, KeepWithin: gc.DefaultKeepWithin,
			Who: record.Holder{User: "gc", Host: host, Server: self, Process: intent.ThisProcess()},
			Gone: func(g gc.Gone) {
				s.log.InfoContext(ctx, "gc takes content", "namespace", string(ns), "deploy", uint64(g.Deploy),
					"keys", g.Keys, "bytes", g.Bytes)
			},
		}, ns)
		done.Deploys, done.Keys, done.Bytes = done.Deploys+r.Deploys, done.Keys+r.Keys, done.Bytes+r.Bytes
		if ctx.Err() != nil {
			return done
		}
		if err != nil {
			failed(string(ns), err)
		}
		if errors.Is(err, etcd.ErrUnreachable) {
			return done
		}
	}
	return done
}

// reclaim gives what gc and etcd's own compaction have freed back to the embedded etcd's quota, if that is worth it:
// pushes wait for it. An etcd elsewhere is for its own operator to defragment.
func (s *server) reclaim(ctx context.Context, done *monitor.GC) {
	own := s.etcd.embedded
	if own == nil || ctx.Err() != nil {
		return
	}
	space, err := s.store.Space(ctx)
	if err == nil && s.etcd.keptFree == 0 && done.Bytes+space.Used-space.InUse < space.Used/worthDefrag {
		return
	}
	var made etcd.Made
	if err == nil {
		made, err = own.MakeRoom(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "etcd is not defragmented", "error", err, "hint", s.remedyOf(err))
			done.Failed++
		}
		return
	}
	done.Won = made.Won
	if s.etcd.keptFree > 0 {
		s.tell(s.etcd.wordsAfterGC(made.Space)...)
	}
}

// wordsAfterGC say whether gc has helped an etcd that had been full.
func (s *openEtcd) wordsAfterGC(space etcd.Space) []string {
	if space.Quota -= s.keptFree; space.Used < space.Quota {
		return []string{fmt.Sprintf("etcd has room again: %s of %s are free", text.Size(space.Quota-space.Used),
			text.Size(space.Quota))}
	}
	return []string{"warning: etcd is still full: gc found too little that no kept deploy needs; keep less, " +
		"refship gc --keep-last N --keep-within D, or start with a larger --etcd-quota"}
}
