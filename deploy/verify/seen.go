package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// Seen is what was seen of a chain that was sound, to be kept where who writes the chain cannot write. A head that
// extends it has the same history up to there.
type Seen struct {
	Format    int              `json:"format"` // 1
	Namespace record.Namespace `json:"namespace"`
	Chain     record.ChainID   `json:"chain"`  // "": no deploy had a record
	Head      record.ID        `json:"head"`   // 0: there was no deploy
	Hash      record.Hash      `json:"hash"`   // of the head; "" of a foreign one without
	Record    record.Ref       `json:"record"` // the newest record at or below the head
}

// maxSeen bounds a Seen's text, in bytes.
const maxSeen = 64 << 10

// See gives what there is to remember of a chain that Run has verified whole.
func See(ns record.Namespace, result *Result) *Seen {
	s := &Seen{Format: 1, Namespace: ns}
	if result.Head != nil {
		s.Head, s.Hash = result.Head.ID, result.Head.Hash
	}
	if d := result.Newest; d != nil {
		s.Chain = d.Record.Chain
		s.Record = record.Ref{ID: d.ID, SHA256: record.Sum(d.RecordBytes)}
	}
	return s
}

// ParseSeen reads what Encode gives.
func ParseSeen(encoded []byte) (*Seen, error) {
	s := new(Seen)
	if len(encoded) > maxSeen {
		return nil, errors.New("it is too long")
	}
	if err := json.Unmarshal(encoded, s); err != nil {
		return nil, err
	}
	if s.Format != 1 || s.Namespace == "" {
		return nil, errors.New("it is not what verify has written")
	}
	return s, nil
}

// Encode gives it as JSON, with a newline at its end.
func (s *Seen) Encode() ([]byte, error) {
	encoded, err := json.Marshal(s)
	return append(encoded, '\n'), err
}

// Check says whether a chain whose head is given extends what was seen: a fault.Corrupt if it does not.
func (s *Seen) Check(ctx context.Context, chain *store.Chain, head *record.Deploy) error {
	forked := func(format string, args ...any) error {
		return fault.New(fault.Corrupt, fmt.Sprintf("%s does not extend what was seen of it, deploy %d, %s: %s",
			chain.Namespace(), s.Head, hashWords(s.Hash), fmt.Sprintf(format, args...)),
			"the history was written anew, or etcd was restored from an older backup: find out which, and by whom")
	}
	switch {
	case s.Namespace != chain.Namespace():
		return fault.Newf(fault.Usage, "what was seen is of %s, and this is %s", s.Namespace, chain.Namespace())
	case s.Head == 0:
		return nil
	case head == nil || head.ID < s.Head:
		is := "no deploy is left"
		if head != nil {
			is = fmt.Sprintf("the head is deploy %d", head.ID)
		}
		return forked("%s", is)
	}
	for _, id := range []record.ID{s.Record.ID, s.Head} {
		if id == 0 {
			continue
		}
		d, err := chain.Get(ctx, id)
		switch {
		case err != nil && !fault.Is(err, fault.Corrupt):
			return err
		case err != nil:
			return forked("%v", err)
		case id == s.Record.ID && (d.Record == nil || record.Sum(d.RecordBytes) != s.Record.SHA256):
			return forked("the record of deploy %d is another one", id)
		case id == s.Head && d.Hash != s.Hash:
			return forked("deploy %d is %s", id, hashWords(d.Hash))
		}
	}
	return nil
}
