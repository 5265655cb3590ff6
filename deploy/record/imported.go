package record

import (
	"encoding/json"
	"time"
)

// ImportedKey is the key, below NS/refship/, that says what of a chain came out of a bundle.
const ImportedKey = "imported"

// Imported is its value (JSON). The keys that it is about have other revisions than where they were first put.
type Imported struct {
	Head  ID        `json:"head"`  // the newest deploy that came out of the bundle
	Event string    `json:"event"` // the newest event that did, as in its key; "" if none did
	User  string    `json:"user"`  // who imported it
	Host  string    `json:"host"`  // and where
	Time  time.Time `json:"time"`  // and when
}

// ParseImported reads it; of what cannot be read nothing is known.
func ParseImported(value []byte) *Imported {
	i := new(Imported)
	if json.Unmarshal(value, i) != nil {
		return new(Imported)
	}
	return i
}

// Encode gives the value that ParseImported reads.
func (i *Imported) Encode() []byte { return mustEncode(i) }
