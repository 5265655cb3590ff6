// Command refship deploys by git push, into etcd.
//
//	refship serve                     an SSH git server whose pushes become deploys
//	refship repo, key                 the repositories and users' keys of a server's data directory
//	refship keys                      the server's own keys
//	refship hook                      hooks for the repositories of another git server
//	refship deploy                    a commit or a directory, without a push
//	refship log, show, diff           the chain of deploys
//	refship ls, cat, checkout         what one deploy holds
//	refship verify                    proves a chain
//	refship export, import            a chain in one file, and into another etcd
//	refship agent, nodes              a node that runs a chain's head, and the list of nodes
//	refship completion                a shell's script that completes command lines
//	refship backup, restore           a server's data directory in one file, and back
//
// # Map
//
// Each subcommand is a file of its own: its struct has the flags and arguments that kong parses, its Run does the
// work. The other files:
//
//	main.go          the process: arguments, streams, signals
//	run.go           parses, runs one command, prints its error and remedy
//	exit.go          the exit codes
//	remedies.go      words remedies in flags and commands, which no package below knows
//	cli.go           all commands in the order of the help, and the flags that several of them share
//	etcdflags.go     the flags for an etcd of your own
//	targetflags.go   the flags of a target
//	datadir.go       a server's data directory
//	chain.go         finds a chain and connects to its etcd, for the commands that read it
//	deployer.go      what deploys without a server, for deploy and hook
//	server.go        the server of serve: the wiring, from the start to the end
//	ownkeys.go       the server's own keys, and whether one was lost
//	signers.go       whose signatures count: the flag, and what a data directory allows
//	limits.go        the limits of serve
//	http.go          starts package monitor for serve --http
//	logfilter.go     which deploys log shows
//	moment.go        times on the command line, and how they are written
//	pager.go         the terminal that output is shown on, and its pager
//	output.go        JSON, and the logs of libraries
//	progress.go      the progress of long work
//	patch.go, stat.go what differs in contents, as git shows it
//	complete.go      what the scripts of completion ask for
//	man.go           manual pages out of the grammar
//	failpoint.go     kills the process at a step; only in tests
//
// # Manners
//
// The packages below neither print nor exit, and know no flag and no command; run does that, once:
//
//   - Standard output is data, standard error is speech. A line of speech starts with "refship: ", an error with
//     "refship: error: ", its remedy with "refship: hint: ".
//   - The exit code is the error's kind, see exitCode and refship help exit-codes.
//   - Flags for the connection, the data directory and serve may also be given as REFSHIP_SOME_FLAG. The command line
//     wins.
//   - An interrupt (SIGINT, SIGTERM, SIGHUP) ends the work in an orderly way. A second one ends the process at once.
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
	if !signal.Ignored(syscall.SIGHUP) { // nohup(1) ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		first := <-signals
		signal.Stop(signals)
		cancel(&fault.Error{Kind: fault.Failed, What: "stopped by a signal: " + first.String(), Cause: context.Canceled})
	}()
	return ctx
}
