package deploy

import (
	"errors"
	"fmt"
	"time"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// ErrLockLost: the chain's lock or head is not what it was when the deploy was prepared. Prepare again.
var ErrLockLost = errors.New("chain lock lost")

// ConflictError says that the chain's head is none that the wanted deploy may replace (fault.Conflict).
type ConflictError struct {
	Namespace record.Namespace
	Head      *record.Deploy
	Want      record.Hash
	Why       string // a sentence about Want and the head
	Remedy    string
}

func (e *ConflictError) Error() string { return e.At() + "; " + e.Why }

// Unwrap gives kind and remedy.
func (e *ConflictError) Unwrap() error {
	return &fault.Error{Kind: fault.Conflict, What: e.Error(), Remedy: e.Remedy}
}

// At says where the chain is: its head, who deployed it and when.
func (e *ConflictError) At() string {
	subject := ""
	if e.Head.Record != nil {
		subject = ` "` + text.Printable(e.Head.Record.Subject) + `"`
	}
	hash := "without a hash"
	if e.Head.Hash != "" {
		hash = e.Head.Hash.Short()
	}
	when := ""
	if e.Head.Record != nil {
		when = ", " + text.Age(time.Since(e.Head.Record.Time))
	}
	return fmt.Sprintf("%s is at deploy %d, %s%s, by %s%s", e.Namespace, e.Head.ID, hash, subject, e.Head.By(), when)
}

// lockedError says that somebody else kept the chain's lock for longer than the caller would wait.
func lockedError(ns record.Namespace, holder record.Holder, waited time.Duration) error {
	return &fault.Error{
		Kind:   fault.Conflict,
		What:   fmt.Sprintf("%s is locked by %s; waited %s", ns, holder, waited.Round(time.Second)),
		Remedy: "try again when that deploy is done; the lock of a server that died goes away by itself within a minute",
	}
}
