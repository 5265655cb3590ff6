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
	Files  Frontend = "files"  // refship's own: the tree as it is
	Lang   Frontend = "lang"   // mgmt's language
	YAML   Frontend = "yaml"   // a graph for mgmt, in one file
	Puppet Frontend = "puppet" // a manifest for mgmt up to 1.1.0, or the catalog of a puppet agent
	Empty  Frontend = "empty"  // mgmt does nothing
	Auto   Frontend = "auto"
)

// IsMgmt tells whether mgmt reads the deploys.
func (f Frontend) IsMgmt() bool { return f != Files }

// Covers tells whether a target of frontend f may have made a deploy of frontend made.
func (f Frontend) Covers(made Frontend) bool {
	return f == made || f == Auto && (made == Lang || made == YAML)
}

// MgmtNamespace is where mgmt keeps its keys.
const MgmtNamespace Namespace = "/_mgmt"

// IsMgmt tells whether the namespace is mgmt's.
func (ns Namespace) IsMgmt() bool { return ns == MgmtNamespace }

// Settings are of mgmt's frontends; the zero value is mgmt's defaults.
type Settings struct {
	// Entry is the file that mgmt starts with, a path in the tree; "" is main.mcl (lang), start.yaml (yaml) or site.pp
	// (puppet). With puppet it may also be "agent".
	Entry      string `json:"entry,omitempty"`
	PuppetConf string `json:"puppet_conf,omitempty"` // with puppet, the path of puppet.conf in the tree
	ModulePath string `json:"module_path,omitempty"` // with lang, a directory in the tree that mgmt finds modules in
	// VersionFile is with lang a path that the tree lacks: mgmt finds the deploy's hash there.
	VersionFile string `json:"version_file,omitempty"`
	// With lang, the solver of mgmt's type unification, and what is asked of it, with commas; "" is mgmt's own choice.
	UnifyName          string `json:"unify_name,omitempty"`
	UnifyOptimizations string `json:"unify_optimizations,omitempty"`

	Noop        bool `json:"noop,omitempty"`         // change nothing, only say what would be
	Sema        int  `json:"sema,omitempty"`         // how many resources run at a time; 0 is no bound
	NoAutoEdges bool `json:"no_autoedges,omitempty"` // of mgmt's --no-autoedges
	NoAutoGroup bool `json:"no_autogroup,omitempty"` // of mgmt's --no-autogroup
}

// The names of settings, in records, in a repository's config and on the command line.
const (
	settingEntry       = "entry"
	settingPuppetConf  = "puppet-conf"
	settingModulePath  = "module-path"
	settingVersionFile = "version-file"
	settingUnifyName   = "unify-name"
	settingUnifyOptims = "unify-optimizations"
	settingNoop        = "noop"
	settingSema        = "sema"
	settingNoAutoEdges = "no-autoedges"
	settingNoAutoGroup = "no-autogroup"
)

// SettingNames are all of them.
func SettingNames() []string {
	return []string{
		settingEntry, settingPuppetConf, settingModulePath, settingVersionFile, settingUnifyName, settingUnifyOptims,
		settingNoop, settingSema, settingNoAutoEdges, settingNoAutoGroup,
	}
}

// HasVersion tells whether the deploy has a version file: what mgmt's hosts say that they run.
func (r *Record) HasVersion() bool { return r.Settings[settingVersionFile] != "" }

// Text gives the settings that are not mgmt's defaults, by name, as text. It is never nil.
func (s Settings) Text() map[string]string {
	text := map[string]string{}
	for name, word := range s.words() {
		if *word != "" {
			text[name] = *word
		}
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

// words are the settings that are any text, by name.
func (s *Settings) words() map[string]*string {
	return map[string]*string{
		settingEntry: &s.Entry, settingPuppetConf: &s.PuppetConf, settingModulePath: &s.ModulePath,
		settingVersionFile: &s.VersionFile, settingUnifyName: &s.UnifyName, settingUnifyOptims: &s.UnifyOptimizations,
	}
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
	switch flag, word := s.flags()[name], s.words()[name]; {
	case word != nil:
		*word = text
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
