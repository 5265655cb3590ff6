package mgmt

import (
	"context"
	"fmt"

	"refship/deploy/tree"
)

// The frontends.
const (
	Auto  = "auto" // not mgmt's: lang or yaml, by what the tree holds
	Lang  = "lang"
	YAML  = "yaml"
	Empty = "empty"
)

// Names with a meaning to mgmt, and what it starts with where nothing else is named.
const (
	metadataName = "metadata.yaml"
	defaultMain  = "main.mcl"
	startName    = "start.yaml"
)

// CheckFrontend accepts auto, lang, yaml and empty. What is returned otherwise is an *Error.
func CheckFrontend(name string) error {
	switch name {
	case Auto, Lang, YAML, Empty:
		return nil
	case "puppet", "langpuppet":
		return &Error{
			What:   fmt.Sprintf("frontend %s is none any more: mgmt dropped puppet and langpuppet in 2024", name),
			Remedy: "translate the manifests to mcl and choose lang, or stay on an old mgmt and deploy with its own command",
		}
	}
	return &Error{What: fmt.Sprintf("frontend %q is not known", name), Remedy: "the frontends of mgmt are lang, yaml and empty; auto picks lang or yaml"}
}

// pick chooses a frontend by what stands at the root of the tree.
func (l *layer) pick(ctx context.Context) (string, error) {
	if l.o.Entry != "" {
		return "", &Error{
			What:   fmt.Sprintf("the entry file %q is set, and the frontend is auto, which looks for those that mgmt starts with by default", l.o.Entry),
			Remedy: "name the frontend that it is for, lang or yaml, with --frontend, or take --entry away",
		}
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
		return "", &Error{
			What:   "the tree holds what two frontends start with: metadata.yaml or main.mcl is for lang, start.yaml for yaml",
			Remedy: "set --frontend lang or --frontend yaml",
		}
	case lang:
		return Lang, nil
	case yaml:
		return YAML, nil
	}
	return "", &Error{
		What:   "the tree holds nothing that mgmt starts with: neither metadata.yaml nor main.mcl for lang, nor start.yaml for yaml",
		Remedy: "add one of them, or set --frontend, and with lang or yaml --entry FILE where it has another name",
	}
}

func isFileOrLink(e tree.Entry) bool { return isFile(e) || isLink(e) }
