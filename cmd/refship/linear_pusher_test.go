package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// pusher is a user with a clone and a key, who commits, pushes and pulls.
type pusher struct {
	arena  *arena
	client int
	name   string
	repo   string // the repository that it works on
	clone  string // its own, bare: it commits without a work tree
	random *rand.Rand

	commits int
	last    string // its latest commit
	base    []string
}

// push pushes a commit to a server and takes down what it was told.
func (p *pusher) push(ctx context.Context, s *arenaServer, commit string, forced bool, killAfter time.Duration) {
	a := p.arena
	args := []string{"push", "--porcelain", s.url(p.repo), commit + ":refs/heads/main"}
	if forced {
		args = append(args, "--force")
	}
	call := a.history.now()
	told, status := p.git(ctx, killAfter, args...)
	did := fmt.Sprintf("%s to %s/%s (exit status %d)", strings.Join(args, " "), s.name, p.repo, status)
	chain, ref := readPush(told, a.history.commits, commit, forced)
	chain.Object, ref.Object = namespaceOf(p.repo), refOf(s, p.repo)
	var facts []observation
	for _, fact := range []observation{chain, ref} {
		if fact.What != "" {
			facts = append(facts, fact)
		}
	}
	a.count(p.repo, chain, ref)
	a.history.add(p.client, did, call, told, facts...)
}

func namespaceOf(repo string) string { return "/refship/" + repo }

func refOf(s *arenaServer, repo string) string { return s.name + ":" + repo }

// git runs git in the clone; with killAfter it and its ssh are killed at that time. It gives both outputs and the
// status.
func (p *pusher) git(ctx context.Context, killAfter time.Duration, args ...string) (told string, status int) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", p.clone}, args...)...)
	cmd.Env = p.arena.env(p.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err.Error(), -1
	}
	if killAfter > 0 {
		defer time.AfterFunc(killAfter, func() { _ = cmd.Cancel() }).Stop()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		status = exit.ExitCode()
	case err != nil:
		return out.String() + err.Error(), -1
	}
	return out.String(), status
}

// What `git push` says.
var (
	toldPublished = regexp.MustCompile(
		`(?m)^remote: refship: deploy (\d+) published in .*: ([0-9a-f]{7})(?: replaces ([0-9a-f]{7})| is the first)\s*$`)
	toldAlready = regexp.MustCompile(
		`(?m)^remote: refship: (?:\S+: )?([0-9a-f]{7}) is already deployed as (\d+) of \S+\s*$`)
	toldConflict  = regexp.MustCompile(`(?m)^remote: refship: refused: /\S+ is at deploy (\d+), ([0-9a-f]{7}) `)
	toldRefused   = regexp.MustCompile(`(?m)^remote: refship: refused: `)
	toldNotMoved  = regexp.MustCompile(`(?m)^(?:remote: )?refship: \S+ did not move: nothing was deployed`)
	toldLate      = regexp.MustCompile(`(?m)^remote: refship: pushed, not deployed: `)
	toldNowhere   = regexp.MustCompile(`(?m)^(?:ssh: connect to host .*|kex_exchange_identification: .*)$`)
	toldLost      = regexp.MustCompile(`cannot lock ref '\S+': is at ([0-9a-f]{40,64}) but expected ([0-9a-f]{40,64})`)
	porcelainLine = regexp.MustCompile(`(?m)^([ +*=!])\t\S+\t(?:([0-9a-f]+)\.{2,3}([0-9a-f]+)|(\[[^\]]+\]))(.*)$`)
)

// readPush says what follows for the chain and for the ref from what git told; no fact where nothing does.
func readPush(told string, commits *lineage, commit string, forced bool) (chain, ref observation) {
	maybe := observation{What: factUnknown, Commit: commit, Forced: forced}
	chain, ref = maybe, maybe
	line := porcelainLine.FindStringSubmatch(told)
	if line == nil {
		line = make([]string, 6)
	}
	flag, old, verdict := line[1], line[2], line[4]
	lost := toldLost.FindStringSubmatch(told)
	late := strings.Contains(line[5], "pushed, not deployed: the ref has moved")
	switch {
	case flag == " " || flag == "+":
		ref = observation{What: factMoved, Hash: commits.full(old), Commit: commit, Forced: forced}
	case flag == "*":
		ref = observation{What: factMoved, Commit: commit}
	case flag == "=":
		ref = observation{What: factRef, Hash: commit}
	case verdict == "[rejected]": // by the client, which saw the ref and sent nothing
		ref = observation{What: factBehind, Commit: commit}
	case verdict == "[remote rejected]" && lost != nil:
		ref = observation{What: factRef, Hash: lost[1]}
	case late: // from where is not told
	case verdict == "[remote rejected]", toldNowhere.MatchString(told):
		ref = observation{}
	}
	switch m := toldPublished.FindStringSubmatch(told); {
	case m != nil:
		chain = observation{What: factPublished, ID: atoi(m[1]), Commit: commits.full(m[2]), Hash: fullOrNone(commits, m[3])}
		return chain, ref
	case late, toldLate.MatchString(told): // it may be published when the server starts again
		return chain, ref
	}
	if m := toldAlready.FindStringSubmatch(told); m != nil {
		return observation{What: factHead, ID: atoi(m[2]), Hash: commits.full(m[1])}, ref
	}
	if m := toldConflict.FindStringSubmatch(told); m != nil {
		return observation{What: factConflict, ID: atoi(m[1]), Hash: commits.full(m[2]), Commit: commit}, ref
	}
	none := toldRefused.MatchString(told) || toldNotMoved.MatchString(told) || toldNowhere.MatchString(told) ||
		flag == "=" || verdict == "[rejected]" || verdict == "[remote rejected]"
	if none {
		chain = observation{}
	}
	return chain, ref
}

func fullOrNone(commits *lineage, abbreviated string) string {
	if abbreviated == "" {
		return ""
	}
	return commits.full(abbreviated)
}

func atoi(digits string) (n int) {
	_, _ = fmt.Sscan(digits, &n) // of a pattern that has digits only
	return n
}

// commit makes a commit on top of others, with a content of its own.
func (p *pusher) commit(ctx context.Context, parents ...string) (string, error) {
	p.commits++
	var in strings.Builder
	text := func(s string) { fmt.Fprintf(&in, "data %d\n%s\n", len(s), s) }
	fmt.Fprintf(&in, "commit refs/made/%d\nmark :1\ncommitter %s <%s@example.org> %d +0000\n", p.commits, p.name, p.name,
		time.Now().Unix())
	text(fmt.Sprintf("%s's number %d", p.name, p.commits))
	for i, parent := range parents {
		fmt.Fprintf(&in, "%s %s\n", []string{"from", "merge"}[min(i, 1)], parent)
	}
	fmt.Fprintf(&in, "M 100644 inline %s/%d\n", p.name, p.commits%20)
	text(fmt.Sprintf("content %d of %s", p.commits, p.name))
	in.WriteString("get-mark :1\ndone\n")
	cmd := exec.CommandContext(ctx, "git", "-C", p.clone, "fast-import", "--quiet", "--done")
	cmd.Env, cmd.Stdin = p.arena.env(p.name), strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git fast-import: %w", err)
	}
	commit := strings.TrimSpace(string(out))
	p.arena.history.commits.add(commit, parents...)
	p.last, p.base = commit, parents
	return commit, nil
}

// pull fetches a server's branch and gives its commit, "" if there is none or the server does not answer.
func (p *pusher) pull(ctx context.Context, s *arenaServer) string {
	if _, status := p.git(ctx, 0, "fetch", "-q", s.url(p.repo), "+refs/heads/main:refs/seen/"+s.name); status != 0 {
		return ""
	}
	told, status := p.git(ctx, 0, "rev-parse", "--verify", "refs/seen/"+s.name)
	if status != 0 {
		return ""
	}
	return strings.TrimSpace(told)
}

// catchUp gives what a next commit has to stand on so that it contains what all servers have.
func (p *pusher) catchUp(ctx context.Context) []string {
	var seen []string
	for _, s := range p.arena.servers {
		seen = append(seen, p.pull(ctx, s))
	}
	return p.arena.history.commits.tips(seen...)
}

// run pushes until ctx ends: mostly as people should, sometimes stale, rewound, again, or broken off.
func (p *pusher) run(ctx, hard context.Context) error {
	for ctx.Err() == nil {
		s := p.arena.servers[p.random.IntN(len(p.arena.servers))]
		var killAfter time.Duration
		if p.random.IntN(15) == 0 {
			killAfter = time.Duration(p.random.Int64N(int64(400 * time.Millisecond)))
		}
		commit, forced := "", p.random.IntN(4) == 0
		var err error
		switch dice := p.random.IntN(10); {
		case dice == 0 && p.last != "": // again, perhaps elsewhere
			commit = p.last
		case dice == 1 && len(p.base) > 0: // back
			commit, forced = p.base[0], true
		case dice <= 2: // without a look at what the others did
			commit, err = p.commit(hard, p.base...)
			forced = true
		default:
			base := p.catchUp(hard)
			forced = forced || len(base) > 1
			commit, err = p.commit(hard, base...)
		}
		if err != nil {
			if hard.Err() != nil {
				return nil
			}
			return err
		}
		p.push(hard, s, commit, forced, killAfter)
	}
	return nil
}
