package scrub

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// maxStrays is how many stray keys are named.
const maxStrays = 20

// Stray is a key below NS/deploy/ that belongs to no deploy, or all keys of an id that no deploy has.
type Stray struct {
	Key    string // raw bytes
	Prefix bool   // and all that begin with it
	What   string

	id record.ID // that no deploy had yet; 0: it is no id of a deploy
}

// Remedy is the command that removes it.
func (s Stray) Remedy() string {
	command := "etcdctl del "
	if s.Prefix {
		command += "--prefix "
	}
	return command + text.Quote(s.Key)
}

// findStrays lists the keys below NS/deploy/, a page at a time.
func (s *scrub) findStrays(ctx context.Context) error {
	var strays []Stray
	more, last, after := 0, "", ""
	for {
		if err := s.pace.rest(ctx); err != nil {
			return err
		}
		keys, err := s.chain.DeployKeys(ctx, after)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			stray, ok := s.stray(key)
			switch {
			case !ok || stray.Key == last: // the keys of one id follow each other
			case len(strays) < maxStrays:
				strays = append(strays, stray)
			default:
				more++
			}
			if last = ""; ok {
				last = stray.Key
			}
		}
		after = keys[len(keys)-1]
	}
	return s.keepStrays(ctx, strays, more)
}

// stray tells whether a key belongs to no deploy up to the head.
func (s *scrub) stray(key string) (Stray, bool) {
	prefix := string(s.target.Namespace) + "/deploy/"
	number, name, two := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	id, err := record.ParseID(number)
	huge := isBeyond(number)
	switch {
	case !two || name == "" || strings.Contains(name, "/") || err != nil && !huge:
		return Stray{Key: key, What: "it is no key of a deploy, and a running mgmt would read no more deploys for it"}, true
	case huge:
		what := fmt.Sprintf("its id is above %d, which no deploy can have: it is ignored", record.MaxID)
		return Stray{Key: prefix + number + "/", Prefix: true, What: what}, true
	case id > s.result.Deploy:
		what := fmt.Sprintf("it belongs to no deploy: the head is %d", s.result.Deploy)
		return Stray{Key: prefix + number + "/", Prefix: true, What: what, id: id}, true
	}
	return Stray{}, false
}

// isBeyond tells whether digits are an id above MaxID.
func isBeyond(digits string) bool {
	if digits == "" || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	_, err := record.ParseID(digits)
	return err != nil
}

// keepStrays keeps those that no deploy has by now: pushes may have published meanwhile.
func (s *scrub) keepStrays(ctx context.Context, strays []Stray, more int) error {
	state, err := s.chain.State(ctx)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return err
	}
	head := record.ID(0)
	if err == nil && state.Head != nil {
		head = state.Head.ID
	}
	for _, stray := range strays {
		if err == nil && (stray.id == 0 || stray.id > head) || err != nil && stray.id == 0 {
			s.result.Strays = append(s.result.Strays, stray)
		}
	}
	s.result.MoreStrays = more
	return nil
}
