package target

import (
	"strings"
	"unicode"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
)

// ParseFrontend reads a frontend's name.
func ParseFrontend(s string) (record.Frontend, error) {
	if record.Frontend(s) == record.Files {
		return record.Files, nil
	}
	if err := mgmt.CheckFrontend(s); err != nil {
		return "", &fault.Error{Remedy: fault.RemedyOf(err) + "; refship's own is files", Cause: err}
	}
	return record.Frontend(s), nil
}

// CheckFrontend refuses settings that the frontend does not have, and namespaces that are not for it: a chain is either
// refship's own or mgmt's, and a key of refship's in the wrong place stops a running mgmt.
func CheckFrontend(f record.Frontend, s record.Settings, ns record.Namespace) error {
	others := s
	others.Entry = ""
	switch {
	case record.CheckPath(s.Entry) != nil || strings.ContainsFunc(s.Entry, unicode.IsControl):
		return fault.Refuse("give the path of a file in the tree, such as site/main.mcl; empty for the default",
			"entry %q is not a path inside a tree", s.Entry[:min(len(s.Entry), record.MaxPath)])
	case s.Sema < 0:
		return fault.Refuse("give the number of resources that may run at a time, or 0 for no bound", "sema is %d", s.Sema)
	case s.Entry != "" && f != record.Lang && f != record.YAML:
		return fault.Refuse("choose the frontend lang or yaml, or an empty entry", "the frontend %s has no entry file", f)
	case !f.IsMgmt() && others != (record.Settings{}):
		return fault.Refuse("take them away, or choose lang, yaml or empty",
			"noop, sema, no-autoedges and no-autogroup are of mgmt's frontends, and this one is %s", f)
	case !f.IsMgmt() && ns == record.MgmtNamespace:
		return fault.Refuse("choose lang, yaml, empty or auto, or another namespace",
			"the namespace %s is mgmt's, and the frontend %s is not", ns, f)
	case strings.HasPrefix(string(ns), string(record.MgmtNamespace)+"/"):
		return fault.Refuse("mgmt's own is "+string(record.MgmtNamespace)+"; for files choose one such as /refship/config",
			"the namespace %s lies within mgmt's keys", ns)
	}
	return nil
}
