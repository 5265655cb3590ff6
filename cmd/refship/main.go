// Command refship deploys by git push, into etcd.
//
//	refship serve                     an SSH git server whose pushes become deploys
//	refship repo, key                 the repositories and keys of a server's data directory
//	refship hook                      the hooks of repositories that another server has
//	refship deploy                    a commit or a directory, without a push
//	refship log, show, diff           the chain of deploys
//	refship ls, cat, checkout         what one deploy holds
//
// Each subcommand is one file of this package: its struct is the flags and arguments that kong parses, its Run does the
// work. The packages below neither print nor exit; run does both, once:
//
//   - standard output is data, standard error is speech. A line of speech starts with "refship: ", an error with
//     "refship: error: ", and the remedy, where the error has a method Hint() string, with "refship: hint: ".
//   - the exit status says what kind of failure it was, see exitCode and `refship help exit-codes`.
//   - flags for the connection, the data directory and serve may also be given as REFSHIP_SOME_FLAG; the command line wins.
//   - an interrupt (SIGINT, SIGTERM) ends the work in an orderly way; a second one ends the process at once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"refship/deploy/fault"
)

func main() {
	os.Exit(run(untilSignal(context.Background()), os.Args[1:], &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.LookupEnv, executable: os.Executable, now: time.Now,
	}))
}

// untilSignal ends the context at the first signal. Unlike with signal.NotifyContext, a second signal has its default
// effect as soon as the context has ended.
func untilSignal(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		first := <-signals
		signal.Stop(signals)
		cancel(&fault.Error{Kind: fault.Failed, What: "stopped by a signal: " + first.String(), Cause: context.Canceled})
	}()
	return ctx
}
