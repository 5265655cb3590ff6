package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
)

// Frontend is how the nodes of a cluster read the tree.
type Frontend string

// The frontends. Auto is one of mgmt's, chosen by what the tree holds at each deploy: no record has it.
const (
	Files Frontend = "files"    // refship's own: the tree as it is
	Lang  Frontend = mgmt.Lang  // mgmt's language
	YAML  Frontend = mgmt.YAML  // a graph for mgmt, in one file
	Empty Frontend = mgmt.Empty // mgmt does nothing
	Auto  Frontend = mgmt.Auto
)

// ParseFrontend reads a frontend's name.
func ParseFrontend(s string) (Frontend, error) {
	if Frontend(s) == Files {
		return Files, nil
	}
	var unknown *mgmt.Error
	if err := mgmt.CheckFrontend(s); errors.As(err, &unknown) {
		return "", &fault.Error{Kind: fault.Refused, What: unknown.Error(), Remedy: unknown.Hint() + "; refship's own is files"}
	}
	return Frontend(s), nil
}

// IsMgmt tells whether mgmt reads the deploys.
func (f Frontend) IsMgmt() bool { return f != Files }

// covers tells whether a target of frontend f may have made a deploy of frontend made.
func (f Frontend) covers(made Frontend) bool {
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

// CheckTarget refuses settings that the frontend does not have, and namespaces that are not for it: a chain is either
// refship's own or mgmt's, and a key of ours in the wrong place stops a running mgmt.
func CheckTarget(f Frontend, s Settings, ns Namespace) error {
	refuse := func(remedy, format string, args ...any) error {
		return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf(format, args...), Remedy: remedy}
	}
	if CheckPath(s.Entry) != nil || strings.ContainsFunc(s.Entry, unicode.IsControl) {
		return refuse("give the path of a file in the tree, such as site/main.mcl; empty for the default", "entry %q is not a path inside a tree", s.Entry[:min(len(s.Entry), maxPath)])
	}
	names := Settings{Noop: s.Noop, Sema: s.Sema, NoAutoEdges: s.NoAutoEdges, NoAutoGroup: s.NoAutoGroup}.Text()
	switch {
	case s.Sema < 0:
		return refuse("give the number of resources that may run at a time, or 0 for no bound", "sema is %d", s.Sema)
	case s.Entry != "" && f != Lang && f != YAML:
		return refuse("with it say --frontend lang or yaml; or take it away: --entry ''", "the frontend %s has no entry file", f)
	case !f.IsMgmt() && len(names) > 0:
		return refuse("take them away, or choose lang, yaml or empty", "noop, sema, no-autoedges and no-autogroup are of mgmt's frontends, and this one is %s", f)
	case !f.IsMgmt() && ns == MgmtNamespace:
		return refuse("choose lang, yaml, empty or auto, or another namespace", "the namespace %s is mgmt's, and the frontend %s is not", ns, f)
	case strings.HasPrefix(string(ns), string(MgmtNamespace)+"/"):
		return refuse("mgmt's own is "+string(MgmtNamespace)+"; for files choose one such as /refship/config", "the namespace %s lies within mgmt's keys", ns)
	}
	return nil
}
