package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"refship/deploy/fault"
	"refship/deploy/record"
)

// Seen is a head as a node remembers it.
type Seen struct {
	Namespace record.Namespace `json:"namespace"`
	Chain     record.ChainID   `json:"chain"`  // "" of a foreign deploy above no record
	ID        record.ID        `json:"id"`     // 0: the chain has no deploy
	Hash      record.Hash      `json:"hash"`   // "" of a foreign deploy without one
	Record    record.Ref       `json:"record"` // the newest record at or below ID
}

// String names it in a sentence.
func (s *Seen) String() string {
	switch {
	case s.ID == 0:
		return record.NoDeploy
	case s.Hash == "":
		return fmt.Sprintf("deploy %d, without a hash", s.ID)
	}
	return fmt.Sprintf("deploy %d, %s", s.ID, s.Hash.Short())
}

// The files of what is remembered.
const (
	seenName     = "seen"
	refusedName  = "refused"
	acceptedName = "accepted"
)

// Refusal is a head that does not extend the one that was seen last.
type Refusal struct {
	Was Seen   `json:"was"`
	Is  Seen   `json:"is"`
	Why string `json:"why"`
}

// Seen gives the head that the node has seen last, nil if it has seen none.
func (s *Site) Seen() (*Seen, error) {
	seen := new(Seen)
	found, err := readJSON(s.state, seenName, seen)
	if err != nil || !found {
		return nil, err
	}
	return seen, nil
}

// Remember keeps the head that was seen last: a head that was refused before is forgotten, and one that was accepted.
func (s *Site) Remember(seen *Seen) error {
	if err := writeJSON(s.state, seenName, seen, 0o600); err != nil {
		return err
	}
	if err := remove(s.state, refusedName); err != nil {
		return err
	}
	return remove(s.state, acceptedName)
}

// Refuse keeps a head that does not extend the one that was seen last, for the operator.
func (s *Site) Refuse(r *Refusal) error {
	old := new(Refusal)
	if found, err := readJSON(s.state, refusedName, old); err == nil && found && *old == *r {
		return nil
	}
	return writeJSON(s.state, refusedName, r, 0o600)
}

// Accepted gives the head that the operator has accepted, nil if there is none.
func (s *Site) Accepted() (*Seen, error) {
	accepted := new(Seen)
	found, err := readJSON(s.state, acceptedName, accepted)
	if err != nil || !found {
		return nil, err
	}
	return accepted, nil
}

// HasAccepted tells whether the operator has accepted a head.
func (s *Site) HasAccepted() bool {
	_, err := s.state.Lstat(acceptedName)
	return err == nil
}

// Accept accepts the very head that was refused in a root, and gives it. An agent there need not run; if it does, it
// finds out.
func Accept(root string) (refused *Refusal, err error) {
	state, err := os.OpenRoot(filepath.Join(root, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Newf(fault.Failed, "no agent has used %s: %w", root, err)
	}
	if err != nil {
		return nil, err
	}
	defer state.Close()
	refused = new(Refusal)
	found, err := readJSON(state, refusedName, refused)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fault.New(fault.Failed, "the agent in "+root+" has refused no deploy", "")
	}
	// The agent may be another user's: it reads the file, and removes it from its own directory.
	return refused, writeJSON(state, acceptedName, refused.Is, 0o644)
}
