package record

import (
	"fmt"
	"slices"
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
	Entry       string `json:"entry,omitempty"`        // the file that mgmt starts with, a path in the tree; "" is main.mcl (lang) or start.yaml (yaml)
	Noop        bool   `json:"noop,omitempty"`         // change nothing, only say what would be
	Sema        int    `json:"sema,omitempty"`         // how many resources run at a time; 0 is no bound
	NoAutoEdges bool   `json:"no_autoedges,omitempty"` // of mgmt's --no-autoedges
	NoAutoGroup bool   `json:"no_autogroup,omitempty"` // of mgmt's --no-autogroup
}

// The names of settings, in records, in a repository's config and on the command line.
const (
	SettingEntry       = "entry"
	SettingNoop        = "noop"
	SettingSema        = "sema"
	SettingNoAutoEdges = "no-autoedges"
	SettingNoAutoGroup = "no-autogroup"
)

// SettingNames are all of them.
func SettingNames() []string {
	return []string{SettingEntry, SettingNoop, SettingSema, SettingNoAutoEdges, SettingNoAutoGroup}
}

// Text gives the settings that are not mgmt's defaults, by name, as text. It is never nil.
func (s Settings) Text() map[string]string {
	text := map[string]string{}
	if s.Entry != "" {
		text[SettingEntry] = s.Entry
	}
	if s.Sema != 0 {
		text[SettingSema] = strconv.Itoa(s.Sema)
	}
	for name, on := range map[string]bool{SettingNoop: s.Noop, SettingNoAutoEdges: s.NoAutoEdges, SettingNoAutoGroup: s.NoAutoGroup} {
		if on {
			text[name] = "true"
		}
	}
	return text
}

// Set reads one setting as Text writes it.
func (s *Settings) Set(name, text string) error {
	flags := map[string]*bool{SettingNoop: &s.Noop, SettingNoAutoEdges: &s.NoAutoEdges, SettingNoAutoGroup: &s.NoAutoGroup}
	var err error
	switch flag := flags[name]; {
	case name == SettingEntry:
		s.Entry = text
	case name == SettingSema:
		s.Sema, err = strconv.Atoi(text)
	case flag == nil:
		return fmt.Errorf("setting %q is not known: there are %s", name, strings.Join(SettingNames(), ", "))
	case !slices.Contains([]string{"true", "false"}, text):
		err = fmt.Errorf("it is neither true nor false")
	default:
		*flag = text == "true"
	}
	if err != nil {
		return fmt.Errorf("setting %s: %q: %w", name, text, err)
	}
	return nil
}
