package deploy

import (
	"errors"
	"fmt"
	"time"

	"refship/deploy/text"
)

// Any error of refship may have a method Hint() string: the remedy, which the command prints on a line of its own.

// Errors to branch on.
var (
	// ErrNotFound: the chain has no deploy of that id.
	ErrNotFound = errors.New("no such deploy")
	// ErrLockLost: the chain's lock or head is not what it was when the deploy was prepared. Prepare again.
	ErrLockLost = errors.New("chain lock lost")
)

// ConflictError says that the chain's head is none that the wanted deploy may replace.
type ConflictError struct {
	Namespace Namespace
	Head      *Deploy
	Want      Hash
	Why       string // a sentence about Want and the head
	Remedy    string
}

func (e *ConflictError) Error() string { return e.At() + "; " + e.Why }

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

// Hint is the remedy.
func (e *ConflictError) Hint() string { return e.Remedy }

// LockedError says that somebody else kept the chain's lock for longer than the caller would wait.
type LockedError struct {
	Namespace Namespace
	Holder    Holder
	Waited    time.Duration
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is locked by %s; waited %s", e.Namespace, e.Holder, e.Waited.Round(time.Second))
}

// Hint is the remedy.
func (e *LockedError) Hint() string {
	return "try again when that deploy is done; the lock of a server that died goes away by itself within a minute"
}

// RefusedError says that permission, policy, a hold, or the tree itself forbids the deploy.
type RefusedError struct {
	What   string
	Remedy string
}

func (e *RefusedError) Error() string { return e.What }

// Hint is the remedy.
func (e *RefusedError) Hint() string { return e.Remedy }

// CorruptError says that a value in etcd is not what leads to it promises.
type CorruptError struct {
	Key  string
	What string
}

func (e *CorruptError) Error() string { return fmt.Sprintf("verify %s: %s", e.Key, e.What) }

// Hint is the remedy.
func (e *CorruptError) Hint() string {
	return "etcd was changed by something else than refship, or restored in part: restore it from a backup, or deploy the repository into a new namespace"
}
