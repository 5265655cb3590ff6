package record

import (
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Selector is how a user names a deploy of a chain: its number, head, head~N, or the commit that it deployed.
type Selector struct {
	id     ID     // 0: it is no number
	below  ID     // how far below the head, if it is none of the others
	commit string // the first digits of an oid, or all; it may be both a number and that
}

// Head selects the head.
var Head = Selector{}

const (
	minCommit = 7  // digits of a commit
	maxCommit = 64 // of an oid of SHA-256
)

// ParseSelector reads a selector.
func ParseSelector(s string) (Selector, error) {
	rest, ok := strings.CutPrefix(s, "head")
	if !ok {
		id, err := ParseID(s)
		if len(s) >= minCommit && len(s) <= maxCommit && strings.Trim(s, "0123456789abcdef") == "" {
			return Selector{id: id, commit: s}, nil
		}
		if err != nil {
			return Selector{}, fmt.Errorf("%w, and neither head, head~N, nor %d or more digits of a commit", err, minCommit)
		}
		return Selector{id: id}, nil
	}
	if rest == "" {
		return Head, nil
	}
	number, ok := strings.CutPrefix(rest, "~")
	below, err := ParseID(number)
	if !ok || err != nil {
		return Selector{}, fault.Newf(fault.Usage, "%s is neither a deploy's number nor head, head~N, nor a commit",
			text.Mention(text.Clip(s)))
	}
	return Selector{below: below}, nil
}

// UnmarshalText is ParseSelector for command lines.
func (s *Selector) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSelector(string(text))
	return err
}

// IsHead tells whether the head itself is selected.
func (s Selector) IsHead() bool { return s == Head }

// Number is the id that is selected whatever the head is; 0 if there is none. A commit may look like one.
func (s Selector) Number() ID { return s.id }

// Commit is the first digits of the commit that is selected, or all; "" if none is.
func (s Selector) Commit() string { return s.commit }

// IsExact tells whether it selects the same deploy whatever is published meanwhile, but for another one of the same
// commit.
func (s Selector) IsExact() bool { return s.id != 0 || s.commit != "" }

// Below gives the id that is selected under a head, by head or head~N.
func (s Selector) Below(head ID) (ID, error) {
	if s.below >= head {
		return 0, fault.Newf(fault.Failed, "there is no head~%d: the head is deploy %d", s.below, head)
	}
	return head - s.below, nil
}

func (s Selector) String() string {
	switch {
	case s.commit != "":
		return s.commit
	case s.id != 0:
		return s.id.String()
	case s.below != 0:
		return fmt.Sprintf("head~%d", s.below)
	}
	return "head"
}
