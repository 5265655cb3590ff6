package main

import (
	"context"
	"errors"

	"refship/deploy/fault"
)

// Exit statuses, a promise to scripts.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitConflict = 3
	exitRefused  = 4
	exitCorrupt  = 5
	exitEtcd     = 6
)

// exitCodesHelp is what `refship help exit-codes` prints.
const exitCodesHelp = `Exit codes of refship, and of commands given to its SSH server:

  0  done
  1  failed
  2  usage: the command line is wrong, nothing was done
  3  conflict: the chain's head is another deploy, somebody holds its lock, or another server holds the data directory
  4  refused: no permission, a policy, a repository or target that is not there, or a tree that cannot be deployed
  5  verification failed: what etcd holds does not prove itself
  6  etcd is unreachable or full
`

// exitCode says what kind of failure err is.
func exitCode(err error) int {
	var (
		usage *usageError
		held  *heldError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &held):
		return exitConflict
	case errors.Is(err, context.Canceled):
		return exitFailed
	}
	return int(fault.KindOf(err))
}
