package main

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/fault"
)

// Exit statuses, a promise to scripts. Those of failures are the kinds of faults.
const (
	exitDone     = 0
	exitFailed   = int(fault.Failed)
	exitConflict = int(fault.Conflict)
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

// exitCode is the exit status for err: its kind, except that work which was broken off just failed, whatever it was
// waiting for.
func exitCode(err error) int {
	if errors.Is(err, context.Canceled) {
		return exitFailed
	}
	return int(fault.KindOf(err))
}

// exitError ends the program with a status and without a word: what is wrong has been said already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
