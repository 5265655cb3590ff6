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
  3  conflict: the chain's head is another deploy, the chain is locked or on hold, the data directory is in use, or a
     node does not run the head
  4  refused: no permission, a policy, a repository or target that does not exist, or a tree that cannot be deployed
  5  verification failed: what etcd or a backup holds does not match its hashes or signatures
  6  etcd is unreachable, full or broken
`

// exitCode is the exit status for err: its kind, with two exceptions. An exitError is its own status. Work that was
// interrupted has failed, no matter what it was waiting for: an interrupt is no trouble with etcd.
func exitCode(err error) int {
	if status := exitError(0); errors.As(err, &status) {
		return int(status)
	}
	if errors.Is(err, context.Canceled) {
		return exitFailed
	}
	return int(fault.KindOf(err))
}

// exitError ends the program with a status. Nothing more is printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
