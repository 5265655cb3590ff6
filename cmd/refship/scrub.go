package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refship/cmd/refship/monitor"
	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/scrub"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

const (
	// firstScrub is the longest time from the start to the first scrub, so that a server is scrubbed that never runs for
	// as long as --scrub-every.
	firstScrub = 10 * time.Minute
	// maxFindings is how many damaged keys of a target are told one by one.
	maxFindings = 20
)

// interval is a time span, or 0 for never.
type interval time.Duration

func (d *interval) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err != nil || value < 0 {
		return usagef("%q is not a time such as 24h, or 0", text)
	}
	*d = interval(value)
	return nil
}

func scrubTarget(repo *repos.Repository, t target.Target) scrub.Target {
	return scrub.Target{
		Repository: repo.Name, GitDir: repo.Dir, Namespace: t.Namespace, Mgmt: t.Frontend.IsMgmt(),
	}
}

// scrub scrubs all targets again and again, until ctx ends.
func (s *server) scrub(ctx context.Context, watch *monitor.Monitor) error {
	return s.nowAndThen(ctx, firstScrub, time.Duration(s.flags.ScrubEvery), func() {
		began := time.Now()
		done := s.scrubAll(ctx)
		if ctx.Err() != nil {
			return
		}
		s.log.InfoContext(ctx, "scrubbed", "keys", done.Keys, "bytes", done.Bytes, "repaired", done.Repaired,
			"failed", done.Failed, "warnings", len(done.Warnings), "took", time.Since(began).Round(time.Millisecond))
		watch.Scrubbed(done)
	})
}

// scrubAll scrubs all targets once, one after the other. It ends early while etcd does not answer.
func (s *server) scrubAll(ctx context.Context) (done monitor.Scrub) {
	warn := func(err error) {
		done.Warnings = append(done.Warnings, err)
	}
	listed, err := s.dir.repos().List() // with an error, those that can be read are there
	if err != nil {
		s.log.WarnContext(ctx, "scrub: some repositories cannot be listed", "error", err)
		warn(err)
	}
	defer func() { done.Ended = time.Now() }()
	for _, repo := range listed {
		for _, t := range repo.Targets {
			log := &scrubLog{server: s}
			r, err := scrub.Run(ctx, scrub.Config{
				Store: s.store, Gentle: true, Found: func(f scrub.Finding) { log.found(ctx, f) },
			}, scrubTarget(repo, t))
			if ctx.Err() != nil {
				return done
			}
			done.Keys, done.Bytes = done.Keys+r.Keys, done.Bytes+r.Bytes
			done.Repaired, done.Failed = done.Repaired+r.Repaired, done.Failed+r.Failed
			for _, err := range log.warnings(ctx, t.Namespace, r) {
				warn(err)
			}
			if err != nil {
				s.log.WarnContext(ctx, "scrub: broken off", "namespace", string(t.Namespace), "error", err)
				warn(fmt.Errorf("broken off: %w", err))
			}
			if errors.Is(err, etcd.ErrUnreachable) {
				return done
			}
		}
	}
	return done
}

// scrubLog writes what the scrub of one target finds into the server's log.
type scrubLog struct {
	server *server
	told   int
	failed *scrub.Finding // the first that was not repaired
}

func (l *scrubLog) found(ctx context.Context, f scrub.Finding) {
	if f.Failed != nil && l.failed == nil {
		l.failed = &f
	}
	if l.told++; l.told > maxFindings {
		return
	}
	attrs := []any{"namespace", string(f.Namespace), "deploy", uint64(f.Deploy), "key", f.Key, "path", f.Path,
		"damage", f.Damage}
	if f.Failed != nil {
		l.server.log.ErrorContext(ctx, "scrub: not repaired", append(attrs, "error", f.Failed)...)
		return
	}
	l.server.log.WarnContext(ctx, "scrub: repaired", attrs...)
}

// warnings are what a person should look at, for the log's end and for /readyz.
func (l *scrubLog) warnings(ctx context.Context, ns record.Namespace, r *scrub.Result) (all []error) {
	if l.told > maxFindings {
		l.server.log.WarnContext(ctx, "scrub: more was damaged", "namespace", string(ns), "keys", l.told-maxFindings)
	}
	if r.Repaired > 0 {
		all = append(all, fmt.Errorf("%s: %s damaged, and repaired, %s", ns, wereKeys(r.Repaired),
			time.Now().UTC().Format(time.RFC3339)))
	}
	if l.failed != nil {
		all = append(all, fmt.Errorf("%s: %s damaged, and not repaired: %s", ns, wereKeys(r.Failed), l.failed))
	}
	for _, stray := range r.Strays {
		l.server.log.WarnContext(ctx, "scrub: stray key", "namespace", string(ns), "key", stray.Key, "what", stray.What,
			"hint", stray.Remedy())
		all = append(all, fmt.Errorf("stray key %s: %s; %s", stray.Key, stray.What, stray.Remedy()))
	}
	if r.MoreStrays > 0 {
		all = append(all, fmt.Errorf("%s: and %s", ns, moreStrays(r.MoreStrays)))
	}
	return all
}

func wereKeys(n int) string { return text.Plural(n, "key was", "keys were") }

func moreStrays(n int) string { return text.Plural(n, "more stray key", "more stray keys") }
