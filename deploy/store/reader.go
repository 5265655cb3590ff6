package store

import (
	"context"
	"errors"

	"refship/deploy/etcd"
)

// Reader reads the keys of chains: those in an etcd, or those in anything else that has them, such as a bundle.
type Reader interface {
	// Read gives what each query finds, all of it as of one revision: the given one, or the newest if that is 0. It
	// also gives that revision. A query finds its key, if that exists, or its keys. There are at most MaxQueries.
	// ErrCompacted says that the revision can no longer be read.
	Read(ctx context.Context, revision int64, queries []Query) (found [][]KeyValue, at int64, err error)
}

// Query asks a Reader for a key, or for a few keys that begin alike.
type Query struct {
	Key     string
	NoValue bool   // only for the revision
	First   int    // 0: for Key itself; else for the first so many of all keys that begin with it, or come before End
	End     string // with First or Count: from Key on, whatever they begin with, up to this one, left out; "": none
	After   string // with First, without End: those that come after this key, which begins with Key; "": all of them
	Count   bool   // only how many keys there are that begin with Key, or come before End, in one KeyValue
	Last    int    // as First without End, from the last one down; not below what holds contents
}

// KeyValue is a key that a Reader has found.
type KeyValue struct {
	Key      string
	Value    []byte
	Revision int64 // of its last change
	Count    int64 // only with Query.Count
}

// MaxQueries is how many queries one Read takes: as many as one txn of etcd.
const MaxQueries = etcd.MaxOps

// ErrCompacted: the revision can no longer be read.
var ErrCompacted = errors.New("the revision is compacted")
