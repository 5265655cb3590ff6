package main

import (
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/hooks/target"
)

// targetFlags are a target's settings; nil: not given.
type targetFlags struct {
	Ref       *string `placeholder:"REF" help:"The ref whose pushes are deployed; of a new target main."`
	Namespace *string `placeholder:"NS" help:"The chain's etcd prefix; of a new target /refship/REPO, or /refship/REPO-NAME for further ones, or /_mgmt with mgmt's frontends."`
	layoutFlags
	Check *string `placeholder:"CMD" help:"A command line for sh -c that has to pass before each deploy; empty for none. It runs in a copy of the tree, with the server's rights."`
}

// layoutFlags say what of a tree is deployed and how the nodes read it.
type layoutFlags struct {
	Path        *string `placeholder:"PATH" help:"Deploy only this directory of the tree; empty for the whole tree."`
	Frontend    *string `placeholder:"F" help:"How the nodes read the tree: files; or lang, yaml or empty for mgmt, and auto for lang or yaml, as the tree has it. Of a new target files."`
	Entry       *string `placeholder:"FILE" help:"The file that mgmt starts with; empty for main.mcl with lang, start.yaml with yaml."`
	Noop        *bool   `help:"mgmt changes nothing, and says what it would; --noop=false takes it back, as it does with the other flags of this kind."`
	Sema        *string `placeholder:"N" help:"How many resources mgmt works on at a time; 0 for any number."`
	NoAutoedges *bool   `help:"mgmt adds no edges by itself."`
	NoAutogroup *bool   `help:"mgmt does not group resources by itself."`
}

// newTarget is a target that nothing is said about but its name. A repository's other targets have their namespaces
// beside that of the default one, since no namespace lies inside another.
func newTarget(repo, name string) target.Target {
	namespace := "/refship/" + repo
	if name != defaultTarget {
		namespace += "-" + name
	}
	return target.Target{Name: name, Ref: "refs/heads/main", Namespace: record.Namespace(namespace), Frontend: record.Files}
}

// make gives a new target. Its errors are usage errors.
func (f *targetFlags) make(repo, name string) (target.Target, error) {
	t := newTarget(repo, name)
	if f.Namespace == nil && f.Frontend != nil && record.Frontend(*f.Frontend).IsMgmt() {
		t.Namespace = record.MgmtNamespace
	}
	return f.apply(t)
}

// change gives a target with these settings instead of those it had. Its errors are usage errors.
func (f *targetFlags) change(was target.Target) (target.Target, error) {
	t, err := f.apply(was)
	if err == nil && t.Frontend.IsMgmt() != was.Frontend.IsMgmt() && t.Namespace == was.Namespace {
		return t, fault.New(fault.Usage,
			"from "+string(was.Frontend)+" to "+string(t.Frontend)+" in "+string(was.Namespace)+": a chain is either refship's own or mgmt's",
			"give another --namespace, too; mgmt's is "+string(record.MgmtNamespace))
	}
	return t, err
}

func (f *targetFlags) apply(t target.Target) (_ target.Target, err error) {
	if f.Ref != nil {
		if t.Ref, err = fullRef(*f.Ref); err != nil {
			return t, err
		}
	}
	if f.Namespace != nil {
		if t.Namespace, err = parseNamespace(*f.Namespace); err != nil {
			return t, err
		}
	}
	if err := f.layoutFlags.apply(&t); err != nil {
		return t, err
	}
	if f.Check != nil {
		t.Check = *f.Check
	}
	if err := t.Validate(); err != nil {
		return t, asUsage("", err)
	}
	return t, nil
}

func (f *layoutFlags) apply(t *target.Target) (err error) {
	if f.Path != nil {
		t.Path = strings.Trim(*f.Path, "/")
	}
	if f.Frontend != nil {
		if t.Frontend, err = target.ParseFrontend(*f.Frontend); err != nil {
			return asUsage("--frontend", err)
		}
	}
	if f.Entry != nil {
		t.Entry = strings.TrimPrefix(*f.Entry, "/")
	}
	if f.Sema != nil {
		if t.Sema, err = strconv.Atoi(*f.Sema); err != nil {
			return usagef("--sema: %q is not a whole number from 0", *f.Sema)
		}
	}
	for flag, setting := range map[*bool]*bool{f.Noop: &t.Noop, f.NoAutoedges: &t.NoAutoEdges, f.NoAutogroup: &t.NoAutoGroup} {
		if flag != nil {
			*setting = *flag
		}
	}
	return nil
}
