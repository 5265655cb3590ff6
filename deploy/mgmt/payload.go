package mgmt

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"fmt"
	"maps"
	"strings"
	"sync"
)

// Settings are those settings of mgmt's own deploy command that a target may have.
type Settings struct {
	Noop        bool // change nothing, only say what would be
	Sema        int  // how many resources run at a time; only > 0 has an effect, and mgmt itself writes -1 for none
	NoAutoEdges bool
	NoAutoGroup bool
	// With lang, the solver of its type unification, and what is asked of it, with commas; "": mgmt's own choice.
	UnifyName, UnifyOptimizations string
}

// The keys of a UnificationStrategy ([code], lang/unification/interfaces.go).
const (
	strategyName          = "name"
	strategyOptimizations = "optimizations"
)

// Payload is what tells a running mgmt what to run, and how.
type Payload struct {
	Frontend string // lang, yaml, puppet or empty
	Mode     string // of puppet: file or agent, or what mgmt's own command writes besides; "" with the others
	Settings
	InputURI string // InputURI of the superblock's path; "" with empty, which has none
	// Strategy is what a UnificationStrategy says besides, with other keys; nil: nothing. We write none.
	Strategy map[string]string
}

// The names under which mgmt registers its frontends' types with gob: short ones, no import paths.
const (
	langName   = "*gapi.GAPI"
	yamlName   = "*yamlgraph.GAPI"
	puppetName = "*puppet.GAPI"
	emptyName  = "*empty.GAPI"
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
	GAPI        any // *langGAPI, *yamlGAPI, *puppetGAPI or *emptyGAPI
}

type langGAPI struct {
	InputURI string
	Data     *langData
}

type langData struct {
	UnificationStrategy map[string]string // never nil: mgmt would not run it
}

type yamlGAPI struct{ InputURI string }

type puppetGAPI struct{ InputURI, Mode string }

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
	gob.RegisterName(puppetName, &puppetGAPI{})
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
		w.GAPI = &langGAPI{InputURI: p.InputURI, Data: &langData{UnificationStrategy: p.strategy()}}
	case YAML:
		w.GAPI = &yamlGAPI{InputURI: p.InputURI}
	case Puppet:
		w.GAPI = &puppetGAPI{InputURI: p.InputURI, Mode: p.Mode}
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

// strategy is never nil: mgmt would not run it.
func (p *Payload) strategy() map[string]string {
	all := map[string]string{}
	maps.Copy(all, p.Strategy)
	for key, value := range map[string]string{
		strategyName: p.UnifyName, strategyOptimizations: p.UnifyOptimizations,
	} {
		if value != "" {
			all[key] = value
		}
	}
	return all
}

// setStrategy is strategy's other way.
func (p *Payload) setStrategy(all map[string]string) {
	rest := maps.Clone(all)
	p.UnifyName, p.UnifyOptimizations = all[strategyName], all[strategyOptimizations]
	delete(rest, strategyName)
	delete(rest, strategyOptimizations)
	if len(rest) > 0 {
		p.Strategy = rest
	}
}

// SuperblockPath is where the payload's superblock stands, without the namespace; "" if it has none.
func (p *Payload) SuperblockPath() string { return strings.TrimPrefix(p.InputURI, uriScheme) }

// Same tells whether mgmt does the same with two payloads, wherever their superblocks are.
func (p *Payload) Same(other *Payload) bool {
	a, b := p.Settings, other.Settings
	a.Sema, b.Sema = max(a.Sema, 0), max(b.Sema, 0)
	return p.Frontend == other.Frontend && p.Mode == other.Mode && a == b && maps.Equal(p.Strategy, other.Strategy)
}

// HasFiles tells whether mgmt reads a superblock.
func (p *Payload) HasFiles() bool { return p.Frontend != Empty && p.Mode != modeAgent }

// check holds the payload to what mgmt needs.
func (p *Payload) check() error {
	if p.Frontend != Puppet && p.Mode != "" || p.Frontend == Puppet && !isPuppetMode(p.Mode) {
		return fmt.Errorf("frontend %q with mode %q", p.Frontend, p.Mode)
	}
	if p.Frontend != Lang && len(p.strategy()) > 0 {
		return fmt.Errorf("frontend %q with a UnificationStrategy", p.Frontend)
	}
	switch p.Frontend {
	case Lang, YAML, Puppet:
		if !strings.HasPrefix(p.InputURI, uriScheme+SuperblockPrefix) {
			return fmt.Errorf("input %q does not begin with %s", p.InputURI, uriScheme+SuperblockPrefix)
		}
	case Empty:
		if p.InputURI != "" {
			return fmt.Errorf("frontend empty with input %q", p.InputURI)
		}
	default:
		return fmt.Errorf("frontend %q is not one of lang, yaml, puppet, empty", p.Frontend)
	}
	return nil
}
