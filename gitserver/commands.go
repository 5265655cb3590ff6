package gitserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"refship/deploy/fault"
	"refship/gitserver/command"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/keys"
)

// listRepos prints the repositories that a key may read, a line a target: name, what the key may do, target, source,
// namespace, frontend. A repository without a target has a line of the first two and "-".
func (x *session) listRepos(key *keys.Key) int {
	names, err := x.s.cfg.Repos.Names()
	if err != nil {
		return x.fail(err)
	}
	var errs []error
	shown := 0
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, name := range names {
		may := highestAction(key, name)
		if may == "" {
			continue
		}
		repo, err := x.s.cfg.Repos.Find(name)
		switch {
		case errors.Is(err, repos.ErrUnknown): // removed since Names looked
			continue
		case err != nil:
			errs = append(errs, err)
			continue
		}
		shown++
		if len(repo.Targets) == 0 {
			fmt.Fprintf(table, "%s\t%s\t-\t\t\t\n", name, may) // all cells, or the columns end here
		}
		for _, t := range repo.Targets {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", name, may, t.Name, t.Source(), t.Namespace, t.Frontend)
		}
	}
	_ = table.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(text.String()) {
		x.print("%s", strings.TrimRight(line, " \n"))
	}
	if err := errors.Join(errs...); err != nil {
		return x.fail(err)
	}
	if shown == 0 {
		x.tell("there is no repository that this key may read")
	}
	return exitDone
}

// printLog prints the latest deploys of one chain.
func (x *session) printLog(key *keys.Key, c command.Command) int {
	dir, err := x.findRepository(key, c.Repository, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	last := &lastLine{}
	var odd []string
	status := x.stream(func(w io.Writer) (err error) {
		odd, err = x.s.cfg.Hooks.WriteLog(x.ctx, io.MultiWriter(w, last), c.Repository, dir, c.Target, c.Limit)
		return err
	})
	for _, line := range odd {
		x.tell("warning: " + line)
	}
	// A line begins with the deploy's id, and a chain's first is 1.
	full := c.Limit == command.DefaultLimit && last.number >= command.DefaultLimit
	if status == exitDone && full && !strings.HasPrefix(last.text, "1 ") {
		x.tell(fmt.Sprintf("these are the latest %d deploys; -n N shows N of them, -n all shows all", command.DefaultLimit))
	}
	return status
}

// lastLine keeps the last of the lines that are written to it, however they come.
type lastLine struct {
	text   string // with its newline, if it has come
	number int
}

func (l *lastLine) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if l.number == 0 || strings.HasSuffix(l.text, "\n") {
			l.text, l.number = "", l.number+1
		}
		l.text += string(line)
	}
	return len(p), nil
}

// printStatus compares refs with chains.
func (x *session) printStatus(key *keys.Key, name string) int {
	v, err := x.enter(x.s.fetches, key, name, keys.Read, x.s.fetchNeeds) // it runs git to compare commits
	if err != nil {
		return x.fail(err)
	}
	defer v.leave()
	return x.stream(func(w io.Writer) error { return x.s.cfg.Hooks.WriteStatus(x.ctx, w, name, v.dir) })
}

// printNodes prints which nodes of a chain run what.
func (x *session) printNodes(key *keys.Key, c command.Command) int {
	dir, err := x.findRepository(key, c.Repository, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	place, err := hooks.FindPlace(c.Repository, dir, c.Target)
	if err != nil {
		return x.fail(err)
	}
	behind := false
	status := x.stream(func(w io.Writer) error {
		var where []string
		if where, behind, err = x.s.cfg.Hooks.WriteNodes(x.ctx, w, place); err == nil {
			for _, line := range where {
				x.tell(line)
			}
		}
		return err
	})
	if status == exitDone && behind {
		return int(fault.Conflict)
	}
	return status
}

// stream gives what write writes to the client, which may read it as slowly as it likes and may leave.
func (x *session) stream(write func(io.Writer) error) int {
	w := bufio.NewWriter(x.raw)
	err := write(w)
	if flushed := w.Flush(); err == nil { // what there is comes before the error
		err = flushed
	}
	switch {
	case err == nil:
		return exitDone
	case x.ctx.Err() != nil && x.s.killing.Err() == nil:
		x.log().Debug("client has left", "error", err)
		return exitFailed
	}
	return x.fail(err)
}

// deploy publishes what pushes to a repository left unfinished, then deploys what its refs have and its chains have
// not.
func (x *session) deploy(key *keys.Key, name, target string) int {
	return x.deliver(key, name, func(client context.Context, v *visit, tell func(string)) error {
		return x.s.cfg.Hooks.Deploy(x.s.killing, client, name, v.dir, target, hooks.PusherOf(v.key), tell)
	})
}

// check tells what the push of a commit would deploy. It needs the rule deploy: a target's own check is run.
func (x *session) check(key *keys.Key, c command.Command) int {
	return x.deliver(key, c.Repository, func(client context.Context, v *visit, tell func(string)) error {
		return x.s.cfg.Hooks.DryRun(x.s.killing, client, c.Repository, v.dir, c.Target, c.Commit, hooks.PusherOf(v.key), tell)
	})
}

// deliver runs what is as much work as a push. A target's own check ends with its client, and when the server begins to
// stop; the deploy does not.
func (x *session) deliver(key *keys.Key, name string,
	work func(client context.Context, v *visit, tell func(string)) error) int {
	v, err := x.enter(x.s.pushes, key, name, keys.Deploy, pushNeeds)
	if err != nil {
		return x.fail(err)
	}
	defer v.leave()
	defer x.s.cfg.Hooks.NoteLater(v.dir)
	client, leave := context.WithCancelCause(x.ctx)
	defer leave(nil)
	defer context.AfterFunc(x.s.stopping, func() { leave(errShuttingDown) })()
	if err := work(client, v, func(line string) { x.print("refship: %s", line) }); err != nil {
		return x.fail(err)
	}
	return exitDone
}
