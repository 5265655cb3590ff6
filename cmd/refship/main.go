// Command refship deploys by git push, into etcd.
//
//	refship serve                     an SSH git server whose pushes become deploys
//	refship repo, key                 the repositories and keys of a server's data directory
//	refship log, show                 the chain of deploys
//	refship ls, cat, checkout         what one deploy holds
//
// Each subcommand is one file of this package: its struct is the flags and arguments that kong parses, its Run does the
// work. The packages below neither print nor exit; run does both, once:
//
//   - standard output is data, standard error is speech. A line of speech starts with "refship: ", an error with
//     "refship: error: ", and the remedy, where the error has a method Hint() string, with "refship: hint: ".
//   - the exit status says what kind of failure it was, see exitCode and `refship help exit-codes`.
//   - every flag --some-flag may also be given as REFSHIP_SOME_FLAG; the command line wins.
//   - an interrupt (SIGINT, SIGTERM) ends the work in an orderly way; a second one ends the process at once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from the first signal on, the default: the second one ends the process
	os.Exit(run(ctx, os.Args[1:], &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.LookupEnv, executable: os.Executable, now: time.Now,
	}))
}
