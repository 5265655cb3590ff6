package mgmt

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"fmt"
	"strings"
	"sync"
)

// Settings are those settings of mgmt's own deploy command that a target may have.
type Settings struct {
	Noop        bool // change nothing, only say what would be
	Sema        int  // how many resources run at a time; only > 0 has an effect, and mgmt itself writes -1 for none
	NoAutoEdges bool
	NoAutoGroup bool
}

// Payload is what tells a running mgmt what to run, and how.
type Payload struct {
	Frontend string // lang, yaml or empty
	Settings
	InputURI string // InputURI of the superblock's path; "" with empty, which has none
}

// The names under which mgmt registers its frontends' types with gob: short ones, no import paths.
const (
	langName  = "*gapi.GAPI"
	yamlName  = "*yamlgraph.GAPI"
	emptyName = "*empty.GAPI"
)

// maxPayload is the most bytes of a payload: one has some hundred.
const maxPayload = 64 << 10

// wirePayload is mgmt's Deploy. gob matches fields by name, and types not at all.
type wirePayload struct {
	ID          uint64 // 0: mgmt's reader takes the id out of the key
	Name        string
	Noop        bool
	Sema        int
	NoAutoEdges bool
	NoAutoGroup bool
	GAPI        any // *langGAPI, *yamlGAPI or *emptyGAPI
}

type langGAPI struct {
	InputURI string
	Data     *langData
}

type langData struct {
	UnificationStrategy map[string]string // never nil: mgmt would not run it
}

type yamlGAPI struct{ InputURI string }

type emptyGAPI struct{ Wait bool }

// register makes gob know mgmt's names, once in a process. gob panics if a name stands for another type already, as it
// would in a program that holds mgmt itself: that is an error here.
var register = sync.OnceValue(func() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("register mgmt's types with gob: %v", r)
		}
	}()
	gob.RegisterName(langName, &langGAPI{})
	gob.RegisterName(yamlName, &yamlGAPI{})
	gob.RegisterName(emptyName, &emptyGAPI{})
	return nil
})

// Encode gives the value of deploy/<N>/payload.
func (p *Payload) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	if err := register(); err != nil {
		return nil, err
	}
	w := wirePayload{
		Name: p.Frontend, Noop: p.Noop, Sema: p.Sema, NoAutoEdges: p.NoAutoEdges, NoAutoGroup: p.NoAutoGroup,
	}
	switch p.Frontend {
	case Lang:
		w.GAPI = &langGAPI{InputURI: p.InputURI, Data: &langData{UnificationStrategy: map[string]string{}}}
	case YAML:
		w.GAPI = &yamlGAPI{InputURI: p.InputURI}
	case Empty:
		w.GAPI = &emptyGAPI{}
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&w); err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	value := base64.StdEncoding.AppendEncode(nil, b.Bytes())
	if len(value) > maxPayload {
		return nil, fmt.Errorf("encode payload: it has %d bytes (limit %d)", len(value), maxPayload)
	}
	return value, nil
}

// check holds the payload to what mgmt needs.
func (p *Payload) check() error {
	switch p.Frontend {
	case Lang, YAML:
		if !strings.HasPrefix(p.InputURI, uriScheme+superblockPrefix) {
			return fmt.Errorf("input %q does not begin with %s", p.InputURI, uriScheme+superblockPrefix)
		}
	case Empty:
		if p.InputURI != "" {
			return fmt.Errorf("frontend empty with input %q", p.InputURI)
		}
	default:
		return fmt.Errorf("frontend %q is not one of lang, yaml, empty", p.Frontend)
	}
	return nil
}
