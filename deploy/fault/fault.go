package fault

import (
	"errors"
	"fmt"
)

// Kind is the sort of a failure. Its value is the exit code.
type Kind int

// The kinds. The zero Kind says nothing: KindOf looks further down.
const (
	Failed      Kind = 1 // anything else
	Usage       Kind = 2 // the command line, or an ssh command, cannot be understood
	Conflict    Kind = 3 // previous hash, lock, hold
	Refused     Kind = 4 // permission, policy, not deployable
	Corrupt     Kind = 5 // verification failed
	Unavailable Kind = 6 // etcd unreachable, full or broken
)

// Reason is a short fixed name of what is wrong, such as "repository-unknown". The program words a remedy for it.
type Reason string

// Error is what is wrong, for people.
type Error struct {
	Kind   Kind     // 0: that of Cause
	What   string   // lower case, without a period; "" is Cause's text
	Remedy string   // what to do; "": Cause's, or Reason's
	Reason Reason   // "": Cause's
	About  []string // what Reason's remedy is about, such as a repository's name
	Cause  error    // nil: there is nothing below
}

// New makes an Error with a remedy, which may be "".
func New(kind Kind, what, remedy string) *Error {
	return &Error{Kind: kind, What: what, Remedy: remedy}
}

// Refuse makes an Error of the kind Refused, with a remedy.
func Refuse(remedy, format string, args ...any) *Error {
	return New(Refused, fmt.Sprintf(format, args...), remedy)
}

// Newf makes an Error without a remedy; %w in format gives the cause.
func Newf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, What: err.Error(), Cause: errors.Unwrap(err)}
}

// Error is What. It is written so that it tells Cause where that matters.
func (e *Error) Error() string {
	if e.What == "" && e.Cause != nil {
		return e.Cause.Error()
	}
	return e.What
}

// Unwrap gives Cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf is the kind of the outermost Error that has one, in err and in what it wraps; Failed if none does, 0 for nil.
// Of joined errors the order does not count: it is the first of usage, conflict, refused, corrupt, unavailable, failed.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	return max(kindOf(err), Failed)
}

// kindOf is KindOf, and 0 if no Error has a kind.
func kindOf(err error) Kind {
	for err != nil {
		if e, ok := err.(*Error); ok && e.Kind != 0 { //nolint:errorlint // this is the walk down the chain itself
			return e.Kind
		}
		switch wrapper := err.(type) { //nolint:errorlint // as above
		case interface{ Unwrap() error }:
			err = wrapper.Unwrap()
		case interface{ Unwrap() []error }:
			var first Kind
			for _, below := range wrapper.Unwrap() {
				if kind := kindOf(below); first <= Failed && kind > first || kind > Failed && kind < first {
					first = kind
				}
			}
			return first
		default:
			return 0
		}
	}
	return 0
}

// Is tells whether err is of a kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// RemedyOf is the first remedy in err and in what it wraps; "" if there is none.
func RemedyOf(err error) string {
	if e := find(err, func(e *Error) bool { return e.Remedy != "" }); e != nil {
		return e.Remedy
	}
	return ""
}

// ReasonOf is the reason of the first Error that has one or a remedy, in err and in what it wraps, and what it is
// about: a remedy above a reason is the better one. "" if there is none.
func ReasonOf(err error) (Reason, []string) {
	if e := find(err, func(e *Error) bool { return e.Reason != "" || e.Remedy != "" }); e != nil {
		return e.Reason, e.About
	}
	return "", nil
}

// find looks for an Error in the order of errors.As: from the outside in, and joined errors one after the other.
func find(err error, want func(*Error) bool) *Error {
	for err != nil {
		if e, ok := err.(*Error); ok && want(e) { //nolint:errorlint // this is the walk down the chain itself
			return e
		}
		switch wrapper := err.(type) { //nolint:errorlint // as above
		case interface{ Unwrap() error }:
			err = wrapper.Unwrap()
		case interface{ Unwrap() []error }:
			for _, below := range wrapper.Unwrap() {
				if e := find(below, want); e != nil {
					return e
				}
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}
