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

	"refship/gitserver/repos"
	"refship/hooks"
	"refship/keys"
)

// listRepos prints the repositories that a key may read, a line a target: name, what the key may do, target, where from,
// namespace, frontend; of one without a target the first three, with a "-".
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
		may := highest(key, name)
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
		x.say("%s", strings.TrimRight(line, " \n"))
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
func (x *session) printLog(key *keys.Key, c command) int {
	dir, err := x.open(key, c.repository, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	last := &lastLine{}
	status := x.print(func(w io.Writer) error {
		return x.s.cfg.Hooks.WriteLog(x.ctx, io.MultiWriter(w, last), c.repository, dir, c.target, c.limit)
	})
	// A line begins with the deploy's id, and a chain's first is 1.
	if status == exitDone && c.limit == defaultLimit && last.number == defaultLimit && !strings.HasPrefix(last.text, "1 ") {
		x.tell(fmt.Sprintf("these are the latest %d deploys; -n N shows N of them, -n all shows all", defaultLimit))
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
	dir, err := x.open(key, name, keys.Read)
	if err != nil {
		return x.fail(err)
	}
	_, release, err := x.enter(x.s.fetches, key, name, keys.Read) // it asks git how commits stand to each other
	if err != nil {
		return x.fail(err)
	}
	defer release()
	return x.print(func(w io.Writer) error { return x.s.cfg.Hooks.WriteStatus(x.ctx, w, name, dir) })
}

// print gives what write writes to the client, which may read it as slowly as it likes and may leave.
func (x *session) print(write func(io.Writer) error) int {
	w := bufio.NewWriter(x.raw)
	err := write(w)
	if flushed := w.Flush(); err == nil { // what there is comes before the error
		err = flushed
	}
	switch {
	case err == nil:
		return exitDone
	case x.ctx.Err() != nil && x.s.hard.Err() == nil:
		x.log().Debug("client has left", "error", err)
		return exitFailed
	}
	return x.fail(err)
}

// deploy publishes what pushes left behind in one repository, then what its refs have and its chains have not.
func (x *session) deploy(key *keys.Key, name, target string) int {
	dir, err := x.open(key, name, keys.Deploy)
	if err != nil {
		return x.fail(err)
	}
	key, release, err := x.enter(x.s.pushes, key, name, keys.Deploy)
	if err != nil {
		return x.fail(err)
	}
	defer release()
	say := func(line string) { x.say("refship: %s", line) }
	// A target's own check ends with its client, and at once where the server begins to stop; the deploy does not.
	client, leave := context.WithCancelCause(x.ctx)
	defer leave(nil)
	defer context.AfterFunc(x.s.soft, func() { leave(errShuttingDown) })()
	if err := x.s.cfg.Hooks.Deploy(x.s.hard, client, name, dir, target, hooks.PusherOf(key), say); err != nil {
		return x.fail(err)
	}
	return exitDone
}
