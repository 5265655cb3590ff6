package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Frontend is how the nodes of a cluster read the tree.
type Frontend string

// The frontends. Auto is one of mgmt's, chosen by what the tree holds at each deploy: no record has it.
const (
	Files Frontend = "files" // refship's own: the tree as it is
	Lang  Frontend = "lang"  // mgmt's language
	YAML  Frontend = "yaml"  // a graph for mgmt, in one file
	Empty Frontend = "empty" // mgmt does nothing
	Auto  Frontend = "auto"
)

// IsMgmt tells whether mgmt reads the deploys.
func (f Frontend) IsMgmt() bool { return f != Files }

// Covers tells whether a target of frontend f may have made a deploy of frontend made.
func (f Frontend) Covers(made Frontend) bool {
	return f == made || f == Auto && (made == Lang || made == YAML)
}

// MgmtNamespace is where mgmt keeps its keys.
const MgmtNamespace Namespace = "/_mgmt"

// Settings are of mgmt's frontends; the zero value is mgmt's defaults.
type Settings struct {
	// Entry is the file that mgmt starts with, a path in the tree; "" is main.mcl (lang) or start.yaml (yaml).
	Entry       string `json:"entry,omitempty"`
	Noop        bool   `json:"noop,omitempty"`         // change nothing, only say what would be
	Sema        int    `json:"sema,omitempty"`         // how many resources run at a time; 0 is no bound
	NoAutoEdges bool   `json:"no_autoedges,omitempty"` // of mgmt's --no-autoedges
	NoAutoGroup bool   `json:"no_autogroup,omitempty"` // of mgmt's --no-autogroup
}

// The names of settings, in records, in a repository's config and on the command line.
const (
	settingEntry       = "entry"
	settingNoop        = "noop"
	settingSema        = "sema"
	settingNoAutoEdges = "no-autoedges"
	settingNoAutoGroup = "no-autogroup"
)

// SettingNames are all of them.
func SettingNames() []string {
	return []string{settingEntry, settingNoop, settingSema, settingNoAutoEdges, settingNoAutoGroup}
}

// Text gives the settings that are not mgmt's defaults, by name, as text. It is never nil.
func (s Settings) Text() map[string]string {
	text := map[string]string{}
	if s.Entry != "" {
		text[settingEntry] = s.Entry
	}
	if s.Sema != 0 {
		text[settingSema] = strconv.Itoa(s.Sema)
	}
	for name, flag := range s.flags() {
		if *flag {
			text[name] = "true"
		}
	}
	return text
}

// flags are the settings that are either true or false, by name.
func (s *Settings) flags() map[string]*bool {
	return map[string]*bool{
		settingNoop: &s.Noop, settingNoAutoEdges: &s.NoAutoEdges, settingNoAutoGroup: &s.NoAutoGroup,
	}
}

// Set reads one setting as Text writes it.
func (s *Settings) Set(name, text string) error {
	var err error
	switch flag := s.flags()[name]; {
	case name == settingEntry:
		s.Entry = text
	case name == settingSema:
		s.Sema, err = strconv.Atoi(text)
	case flag == nil:
		return fmt.Errorf("setting %q is not known: there are %s", name, strings.Join(SettingNames(), ", "))
	case text != "true" && text != "false":
		err = errors.New("it is neither true nor false")
	default:
		*flag = text == "true"
	}
	if err != nil {
		return fmt.Errorf("setting %s: %q: %w", name, text, err)
	}
	return nil
}
