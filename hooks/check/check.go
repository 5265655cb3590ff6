package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	// atOnce is how many checks run at a time.
	atOnce = 4
	// defaultLimit is how long a check may take where Config.Limit is 0.
	defaultLimit = 5 * time.Minute
	// defaultGrace is how long a check that is told to end may take to end where Config.Grace is 0.
	defaultGrace = 5 * time.Second
)

// ReasonTooSlow: the check took longer than the limit, which the program may raise.
const ReasonTooSlow fault.Reason = "check-too-slow"

// Config is what a Runner needs.
type Config struct {
	Dir    string                      // where scratch directories are made
	Shared func() (fs.FileMode, error) // the mode of Dir if other processes use it; nil: none does
	Limit  time.Duration               // how long a check may take; 0: defaultLimit
	Grace  time.Duration               // how long a check that is told to end may take to end; 0: defaultGrace
	Every  time.Duration               // how often a check that says nothing is told to run still
	Log    *slog.Logger
}

// Runner runs checks.
type Runner struct {
	cfg   Config
	turns *semaphore.Weighted
}

// NewRunner makes a Runner. It makes no directory yet.
func NewRunner(cfg Config) *Runner {
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.Grace == 0 {
		cfg.Grace = defaultGrace
	}
	return &Runner{cfg: cfg, turns: semaphore.NewWeighted(atOnce)}
}

// Check is one run of a target's command.
type Check struct {
	Target  string // its name, for messages
	Command string // for sh -c
	About   About  // what is checked
	// WriteTree writes the tree into an empty directory, at most limit bytes of it.
	WriteTree func(ctx context.Context, dir string, limit int64, progress func(text.Progress)) error
	Tell      func(line string) // tells the pusher a line
	// During runs a step, and tells the pusher that it goes on.
	During func(step string, fn func(progress func(text.Progress)) error) error
}

// About is what the command is told of the deploy that it checks.
type About struct {
	Repository, Ref, Commit string
	Previous                string // the head's deploy hash, or ""
	Pusher, Frontend        string
}

func (c *Check) env() []string {
	a := c.About
	return []string{
		"REFSHIP_REPOSITORY=" + a.Repository, "REFSHIP_TARGET=" + c.Target, "REFSHIP_REF=" + a.Ref,
		"REFSHIP_COMMIT=" + a.Commit, "REFSHIP_PREVIOUS=" + a.Previous,
		"REFSHIP_PUSHER=" + a.Pusher, "REFSHIP_FRONTEND=" + a.Frontend,
	}
}

// Run runs a check and waits for its end. A check that does not pass is a fault.Refused. If ctx ends first, the error
// is its cause.
func (r *Runner) Run(ctx context.Context, c *Check) error {
	err := c.During("waiting for other checks to end", func(func(text.Progress)) error {
		return r.turns.Acquire(ctx, 1)
	})
	if err != nil {
		return context.Cause(ctx)
	}
	defer r.turns.Release(1)
	start := time.Now()
	if err := r.run(ctx, c); err != nil {
		return err
	}
	c.Tell("the check passed in " + text.Took(time.Since(start)))
	return nil
}

func (r *Runner) run(ctx context.Context, c *Check) error {
	d, err := r.newScratch()
	if err != nil {
		return err
	}
	defer func() {
		if err := d.remove(); err != nil {
			r.cfg.Log.WarnContext(ctx, "remove scratch directory", "error", err) // Clear tries again
		}
	}()
	if err := c.writeTree(ctx, d); err != nil {
		return err
	}
	c.Tell("running the check of target " + c.Target)
	command, err := startCommand(c.Command, d.tree(), append(d.env(), c.env()...), homesBelow(d.dir))
	if err != nil {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("the check of target %s cannot be started: %v", c.Target, disk.WithoutDir(err)),
			Remedy: "the server's operator must correct it",
			Cause:  err,
		}
	}
	return r.judge(ctx, c.Target, command.watch(ctx, r.cfg.Limit, r.cfg.Grace, r.cfg.Every, c.Tell))
}

func (c *Check) writeTree(ctx context.Context, d scratch) error {
	room, err := d.room()
	if err != nil {
		return err
	}
	err = c.During("writing the tree for the check", func(progress func(text.Progress)) error {
		return c.WriteTree(ctx, d.tree(), room, progress)
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !fault.Is(err, fault.Refused):
		return fmt.Errorf("write the tree for the check: %w", disk.WithoutDir(err))
	}
	return err
}

// judge says what became of the command.
func (r *Runner) judge(ctx context.Context, target string, err error) error {
	var exit *exec.ExitError
	refused := func(format string, args ...any) *fault.Error {
		return &fault.Error{
			Kind: fault.Refused, What: "the check of target " + target + " " + fmt.Sprintf(format, args...),
			Remedy: "it says above what is wrong: correct it, commit, push again",
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooLong):
		slow := refused("took longer than %s", r.cfg.Limit)
		slow.Remedy, slow.Reason = "make it faster, or ask the server's operator for a longer limit", ReasonTooSlow
		return slow
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &exit):
		return fmt.Errorf("run the check of target %s: %w", target, err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return refused("was ended by a signal: %s", status.Signal())
	}
	return refused("failed with exit status %d", exit.ExitCode())
}

// env is what the environment of every check has: nothing of this process's own but PATH.
func (d scratch) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.home(), "TMPDIR=" + d.tmp(), "LANG=C.UTF-8"}
}
