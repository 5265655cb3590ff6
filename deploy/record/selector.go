package record

import (
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Selector is how a user names a deploy of a chain: its number, head, or head~N.
type Selector struct {
	id    ID // 0: counted from the head
	below ID // how far below the head
}

// Head selects the head.
var Head = Selector{}

// ParseSelector reads a selector.
func ParseSelector(s string) (Selector, error) {
	rest, ok := strings.CutPrefix(s, "head")
	if !ok {
		id, err := ParseID(s)
		if err != nil {
			return Selector{}, fmt.Errorf("%w, and neither head nor head~N", err)
		}
		return Selector{id: id}, nil
	}
	if rest == "" {
		return Head, nil
	}
	number, ok := strings.CutPrefix(rest, "~")
	below, err := ParseID(number)
	if !ok || err != nil {
		return Selector{}, fault.Newf(fault.Usage, "%s is neither a deploy's number nor head nor head~N",
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

// IsNumber tells whether a deploy is selected by its number, whatever the head is.
func (s Selector) IsNumber() bool { return s.id != 0 }

// Of gives the id that is selected under a head.
func (s Selector) Of(head ID) (ID, error) {
	switch {
	case s.id != 0:
		return s.id, nil
	case s.below >= head:
		return 0, fault.Newf(fault.Failed, "there is no head~%d: the head is deploy %d", s.below, head)
	}
	return head - s.below, nil
}

func (s Selector) String() string {
	switch {
	case s.id != 0:
		return s.id.String()
	case s.below != 0:
		return fmt.Sprintf("head~%d", s.below)
	}
	return "head"
}
