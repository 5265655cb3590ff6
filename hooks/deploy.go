package hooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
	"refship/keys"
)

// Deploy brings a repository's chains to where its refs are, because somebody asks for it: first what pushes left behind,
// as their own user; then every target whose ref is not what the head deployed, as the asking user. say gets each line
// as it happens, without "refship: ". The error joins what could not be done; everything else was done all the same.
func (s *Server) Deploy(ctx context.Context, name, gitDir string, who deploy.Pusher, say func(string)) error {
	r := &reconciler{server: s, name: name, gitDir: gitDir, settled: make(map[string]bool)}
	r.note(r.intents(ctx))
	for _, line := range r.lines {
		say(line)
	}
	targets, err := ReadTargets(ctx, gitDir)
	if err != nil {
		return errors.Join(r.err, err)
	}
	var refs []string
	for _, t := range targets {
		refs = append(refs, t.Ref)
	}
	now, err := readRefs(ctx, gitDir, refs)
	if err != nil {
		return errors.Join(r.err, err)
	}
	if len(targets) == 0 {
		say(name + " has no target")
	}
	for _, t := range targets {
		at, exists := now[t.Ref]
		if !exists {
			say(fmt.Sprintf("%s of %s does not exist yet: push it", t.Ref, name))
			continue
		}
		if err := s.deployRef(ctx, name, gitDir, t, at, who, say); err != nil {
			r.err = errors.Join(r.err, fmt.Errorf("deploy %s of %s: %w", t.Ref, name, err))
		}
	}
	return r.err
}

func (s *Server) deployRef(ctx context.Context, name, gitDir string, t Target, at plumbing.Hash, who deploy.Pusher, say func(string)) error {
	start := time.Now()
	job := s.job(name, t, at, who, "")
	job.Kind = deploy.KindDeploy
	d, already, err := s.do(ctx, gitDir, s.cfg.Chain(t.Namespace), job, s.holder(who.Name, name, t.Ref), func(deploy.Progress) {})
	if err != nil {
		return err
	}
	if already {
		say(fmt.Sprintf("%s of %s, %s, is deployed as %d of %s already", t.Ref, name, d.Hash.Short(), d.ID, t.Namespace))
		return nil
	}
	say(published(d, time.Since(start)))
	s.cfg.Log.InfoContext(ctx, "deploy", "repository", name, "user", who.Name, "key", who.Key, "ref", t.Ref, "to", d.Hash,
		"namespace", t.Namespace, "deploy", d.ID)
	return nil
}

// PusherOf says who deploys with a key that authenticated an SSH connection.
func PusherOf(key *keys.Key) deploy.Pusher {
	return deploy.Pusher{Name: key.Name, Key: key.Fingerprint(), Via: "ssh"}
}
