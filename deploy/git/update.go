package git

import (
	"bytes"
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	// MaxUpdates bounds the ref updates of one push.
	MaxUpdates = 10_000
	// MaxInput bounds a hook's standard input, in bytes.
	MaxInput = 4 << 20
	// MaxCertificate bounds a push certificate, in bytes: it is one value in etcd. A usual one has some 700, and 130 more
	// for each ref.
	MaxCertificate = 1 << 20
)

// RefUpdate is one line of a hook's standard input.
type RefUpdate struct {
	Ref      string
	Old, New OID // zero: absent
}

// Deletes tells whether the update takes the ref away.
func (u RefUpdate) Deletes() bool { return u.New.IsZero() }

// ParseUpdates reads a hook's standard input strictly: lines of "<old> SP <new> SP <ref> LF", the oids as 40 or 64
// lower-case hex digits (githooks(5), pre-receive), no ref twice.
func ParseUpdates(input []byte) ([]RefUpdate, error) {
	if len(input) > MaxInput {
		return nil, NamesTooLong(MaxInput)
	}
	if bytes.Count(input, []byte{'\n'}) > MaxUpdates {
		return nil, TooManyUpdates()
	}
	var updates []RefUpdate
	seen := make(map[string]bool)
	for len(input) > 0 {
		line, rest, ended := bytes.Cut(input, []byte{'\n'})
		if !ended {
			return nil, fmt.Errorf("read ref update %q: the line has no end", text.Clip(string(line)))
		}
		u, err := parseUpdate(string(line))
		if err != nil {
			return nil, err
		}
		if seen[u.Ref] {
			return nil, fmt.Errorf("read ref updates: %s comes twice", u.Ref)
		}
		seen[u.Ref] = true
		updates = append(updates, u)
		input = rest
	}
	if len(updates) == 0 {
		return nil, fmt.Errorf("read ref updates: there are none")
	}
	return updates, nil
}

// fewer is what to do about a push that is refused for the number of its refs.
const fewer = "push fewer refs at once"

// TooManyUpdates refuses a push of more than MaxUpdates.
func TooManyUpdates() error {
	return fault.Refuse(fewer, "a push updates more than %d refs", MaxUpdates)
}

// NamesTooLong refuses a push that names its refs in more than limit bytes.
func NamesTooLong(limit int64) error {
	return fault.Refuse(fewer, "a push names its refs in more than %s", text.Size(limit))
}

// CertificateTooLong refuses a push certificate of more than MaxCertificate.
func CertificateTooLong() error {
	return fault.Refuse(fewer+", or without --signed", "a push certificate has more than %s", text.Size(MaxCertificate))
}

func parseUpdate(line string) (RefUpdate, error) {
	fields := strings.SplitN(line, " ", 3)
	if len(fields) != 3 {
		return RefUpdate{}, fmt.Errorf("read ref update %q: not <old> <new> <ref>", text.Clip(line))
	}
	from, err := ParseOID(fields[0])
	if err != nil {
		return RefUpdate{}, fmt.Errorf("read ref update %q: %w", text.Clip(line), err)
	}
	to, err := ParseOID(fields[1])
	if err != nil {
		return RefUpdate{}, fmt.Errorf("read ref update %q: %w", text.Clip(line), err)
	}
	if err := CheckRef(fields[2]); err != nil {
		return RefUpdate{}, err
	}
	return RefUpdate{Ref: fields[2], Old: from, New: to}, nil
}
