package mgmt

import (
	"context"
	"fmt"

	"refship/deploy/tree"
)

// The frontends.
const (
	Auto   = "auto" // not mgmt's: lang or yaml, by what the tree holds
	Lang   = "lang"
	YAML   = "yaml"
	Puppet = "puppet" // of mgmt up to 1.1.0
	Empty  = "empty"
)

// Names with a meaning to mgmt, and what it starts with where nothing else is named.
const (
	metadataName = "metadata.yaml"
	defaultMain  = "main.mcl"
	startName    = "start.yaml"
)

// CheckFrontend accepts auto, lang, yaml, puppet and empty. Any other name is refused (fault.Refused).
func CheckFrontend(name string) error {
	switch name {
	case Auto, Lang, YAML, Puppet, Empty:
		return nil
	case "langpuppet":
		return refuse("", "no mgmt can deploy langpuppet: mgmt 1.1.0 has no such frontend, "+
			"and in those before it the payload can say nothing about it",
			"choose lang for the mcl code, or puppet for the manifest")
	}
	return refuse("", fmt.Sprintf("frontend %q is not known", name),
		"the frontends of mgmt are lang, yaml, puppet and empty; auto picks lang or yaml")
}

// pick chooses a frontend by what stands at the root of the tree.
func (l *layer) pick(ctx context.Context) (string, error) {
	if l.o.Entry != "" {
		return "", refuseSettings("",
			fmt.Sprintf("the entry file %q is set, and frontend auto looks for mgmt's default entry files", l.o.Entry),
			"set the frontend that it is for, lang or yaml, or unset the entry file")
	}
	has := map[string]bool{}
	n, err := l.visit(ctx, l.src.Root)
	if err != nil {
		return "", err
	}
	for _, name := range []string{metadataName, defaultMain, startName} {
		e := n.find(name)
		has[name] = e != nil && isFileOrLink(*e)
	}
	switch lang, yaml := has[metadataName] || has[defaultMain], has[startName]; {
	case lang && yaml:
		return "", refuseSettings("",
			"the tree holds what two frontends start with: metadata.yaml or main.mcl is for lang, start.yaml for yaml",
			"set the frontend to lang or yaml")
	case lang:
		return Lang, nil
	case yaml:
		return YAML, nil
	}
	return "", refuseSettings("",
		"the tree holds nothing that mgmt starts with: "+
			"neither metadata.yaml nor main.mcl for lang, nor start.yaml for yaml",
		"add one of them, or set the frontend, and with lang or yaml the entry file if it has another name")
}

func isFileOrLink(e tree.Entry) bool { return isFile(e) || isLink(e) }
