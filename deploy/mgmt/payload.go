package mgmt

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"errors"
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

// maxPayload bounds what is decoded, in bytes of the value: a payload has some hundred. gob's reader is not hardened
// against hostile input, and the stack that it takes grows with the input.
const maxPayload = 64 << 10

// The names under which mgmt registers its frontends' types with gob: short ones, no import paths.
const (
	langName  = "*gapi.GAPI"
	yamlName  = "*yamlgraph.GAPI"
	emptyName = "*empty.GAPI"
)

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

// DecodePayload reads the value of deploy/<N>/payload, made by this package or by mgmt. It refuses what mgmt would
// not run.
func DecodePayload(value []byte) (*Payload, error) {
	p, err := decodePayload(value)
	if err != nil {
		return nil, fmt.Errorf("decode payload: %w", err)
	}
	return p, nil
}

func decodePayload(value []byte) (*Payload, error) {
	if len(value) > maxPayload {
		return nil, fmt.Errorf("it has %d bytes (limit %d)", len(value), maxPayload)
	}
	if bytes.ContainsAny(value, "\r\n") {
		return nil, errors.New("more than one line of base64")
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(value)))
	n, err := base64.StdEncoding.Strict().Decode(raw, value)
	if err != nil {
		return nil, err
	}
	if err := register(); err != nil {
		return nil, err
	}
	var w wirePayload
	if err := decodeGob(raw[:n], &w); err != nil {
		return nil, err
	}
	p := &Payload{Frontend: w.Name, Settings: Settings{
		Noop: w.Noop, Sema: w.Sema, NoAutoEdges: w.NoAutoEdges, NoAutoGroup: w.NoAutoGroup,
	}}
	is := "" // the frontend by what mgmt dispatches on
	switch g := w.GAPI.(type) {
	case *langGAPI:
		if g.Data == nil || g.Data.UnificationStrategy == nil {
			return nil, errors.New("lang without a UnificationStrategy, which mgmt does not run")
		}
		is, p.InputURI = Lang, g.InputURI
	case *yamlGAPI:
		is, p.InputURI = YAML, g.InputURI
	case *emptyGAPI:
		is = Empty
	case nil:
		return nil, errors.New("no frontend in it")
	default: // a type that another package of this process has registered
		return nil, fmt.Errorf("%T is not one of mgmt's frontends", g)
	}
	if w.Name != is {
		return nil, fmt.Errorf("it is called %q and holds frontend %s", w.Name, is)
	}
	return p, p.check()
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

// decodeGob reads exactly one value. gob's reader turns bad input into errors, but makes no promise to: should it
// panic, that is an error, too.
func decodeGob(raw []byte, into any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("gob: %v", r)
		}
	}()
	r := bytes.NewReader(raw)
	if err := gob.NewDecoder(r).Decode(into); err != nil {
		return err
	}
	if r.Len() > 0 {
		return fmt.Errorf("%d bytes after its end", r.Len())
	}
	return nil
}
