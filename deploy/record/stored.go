package record

import (
	"encoding/json"
	"strconv"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Stored is the value of NS/refship/stored: how much a namespace holds in etcd (JSON).
type Stored struct {
	Bytes  int64 `json:"bytes"`  // values, and something for each key; too much rather than too little
	Unsure int64 `json:"unsure"` // of Bytes: counted by uploads that did not end, so that some of it may not be there
	Deploy ID    `json:"deploy"` // the head up to which Bytes counts; a later one is a foreign deploy, and not in it
}

// ParseStored reads a Stored; nil if the value is none.
func ParseStored(value []byte) *Stored {
	s := new(Stored)
	if err := json.Unmarshal(value, s); err != nil || s.Unsure < 0 || s.Bytes < s.Unsure {
		return nil
	}
	return s
}

// CountsTo tells whether all deploys up to the head (nil: there is none) are counted. A nil Stored counts none.
func (s *Stored) CountsTo(head *Deploy) bool {
	switch {
	case s == nil:
		return false
	case head == nil:
		return s.Deploy == 0
	}
	return s.Deploy == head.ID
}

// Encode gives the value that ParseStored reads.
func (s *Stored) Encode() []byte {
	value, _ := json.Marshal(s) // it has numbers only
	return value
}

// Limit is how much a namespace may hold in etcd, in bytes from 1 on, or one of the two below.
type Limit int64

const (
	DefaultLimit Limit = 0 // a quarter of etcd's quota; none where etcd does not tell that
	NoLimit      Limit = -1
)

// noLimit is NoLimit as text.
const noLimit = "none"

// ParseLimit reads a limit: a size, "none", or "" for the default.
func ParseLimit(s string) (Limit, error) {
	switch s {
	case "":
		return DefaultLimit, nil
	case noLimit:
		return NoLimit, nil
	}
	n, err := text.ParseSize(s)
	if err != nil {
		return 0, fault.New(fault.Refused, err.Error(), "give a size, "+noLimit+" for no limit, "+
			"or nothing for a quarter of etcd's quota")
	}
	return Limit(n), nil
}

// String is what ParseLimit reads.
func (l Limit) String() string {
	switch l {
	case DefaultLimit:
		return ""
	case NoLimit:
		return noLimit
	}
	return strconv.FormatInt(int64(l), 10)
}

// In is the limit in an etcd of a quota, in bytes; 0: none. A quota of 0 is unknown.
func (l Limit) In(quota int64) int64 {
	switch l {
	case DefaultLimit:
		return quota / 4
	case NoLimit:
		return 0
	}
	return int64(l)
}

// Words say the limit that In gives: "2 GiB, a quarter of etcd's quota", "500 MiB", "none".
func (l Limit) Words(quota int64) string {
	switch bytes := l.In(quota); {
	case l == DefaultLimit && bytes == 0:
		return "none: etcd does not tell its quota"
	case bytes == 0:
		return noLimit
	case l == DefaultLimit:
		return text.Size(bytes) + ", a quarter of etcd's quota"
	default:
		return text.Size(bytes)
	}
}
