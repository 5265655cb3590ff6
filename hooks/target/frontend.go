package target

import (
	"strings"
	"unicode"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/text"
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

// isWord tells whether a word, or words with commas, can go into mgmt's payload as it is.
func isWord(s string) bool {
	return len(s) <= 200 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,=") == ""
}

// CheckFrontend refuses settings that the frontend does not have, and namespaces that are not for it: a chain is either
// refship's own or mgmt's, and a key of refship's in the wrong place stops a running mgmt.
func CheckFrontend(f record.Frontend, s record.Settings, ns record.Namespace) error {
	others := s
	others.Entry, others.PuppetConf = "", ""
	others.ModulePath, others.VersionFile, others.UnifyName, others.UnifyOptimizations = "", "", "", ""
	isPath := func(path string) bool {
		return record.CheckPath(path) == nil && !strings.ContainsFunc(path, unicode.IsControl)
	}
	switch {
	case !isPath(s.Entry):
		return fault.Refuse("give the path of a file in the tree, such as site/main.mcl; empty for the default",
			"entry %q is not a path inside a tree", s.Entry[:min(len(s.Entry), record.MaxPath)])
	case !isPath(s.PuppetConf):
		return fault.Refuse("give the path of a file in the tree, such as puppet/puppet.conf; empty for none",
			"puppet-conf %q is not a path inside a tree", s.PuppetConf[:min(len(s.PuppetConf), record.MaxPath)])
	case s.Sema < 0:
		return fault.Refuse("give the number of resources that may run at a time, or 0 for no bound", "sema is %d", s.Sema)
	case s.Entry != "" && f != record.Lang && f != record.YAML && f != record.Puppet:
		return fault.Refuse("choose the frontend lang, yaml or puppet, or an empty entry",
			"the frontend %s has no entry file", f)
	case s.PuppetConf != "" && f != record.Puppet:
		return fault.Refuse("choose the frontend puppet, or an empty puppet-conf",
			"the frontend %s reads no puppet.conf", f)
	case s.PuppetConf != "" && s.Entry == mgmt.Agent:
		return fault.Refuse("take it away, or name a manifest as the entry",
			"puppet-conf %q is set, and the entry is %s: mgmt reads no puppet.conf then", s.PuppetConf, mgmt.Agent)
	case !isPath(s.ModulePath):
		return fault.Refuse("give a directory in the tree, such as vendor/modules; empty for none",
			"module-path %q is not a path inside a tree", s.ModulePath[:min(len(s.ModulePath), record.MaxPath)])
	case !isPath(s.VersionFile):
		return fault.Refuse("give a path that the tree lacks, such as files/version; empty for none",
			"version-file %q is not a path inside a tree", s.VersionFile[:min(len(s.VersionFile), record.MaxPath)])
	case !isWord(s.UnifyName) || !isWord(s.UnifyOptimizations):
		return fault.Refuse("give them as mgmt's own command takes them, the latter with commas",
			"unify-name %q or unify-optimizations %q is no word", text.Clip(s.UnifyName), text.Clip(s.UnifyOptimizations))
	case f != record.Lang && s.ModulePath+s.VersionFile+s.UnifyName+s.UnifyOptimizations != "":
		return fault.Refuse("take them away, or choose the frontend lang",
			"module-path, version-file, unify-name and unify-optimizations are of the frontend lang, and this one is %s", f)
	case !f.IsMgmt() && others != (record.Settings{}):
		return fault.Refuse("take them away, or choose lang, yaml, puppet or empty",
			"noop, sema, no-autoedges and no-autogroup are of mgmt's frontends, and this one is %s", f)
	case !f.IsMgmt() && ns == record.MgmtNamespace:
		return fault.Refuse("choose lang, yaml, puppet, empty or auto, or another namespace",
			"the namespace %s is mgmt's, and the frontend %s is not", ns, f)
	case strings.HasPrefix(string(ns), string(record.MgmtNamespace)+"/"):
		return fault.Refuse("mgmt's own is "+string(record.MgmtNamespace)+"; for files choose one such as /refship/config",
			"the namespace %s lies within mgmt's keys", ns)
	}
	return nil
}
