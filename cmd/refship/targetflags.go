package main

import (
	"fmt"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/hooks/target"
)

// targetFlags are a target's settings; nil: not given.
type targetFlags struct {
	Ref       *string `placeholder:"REF" help:"The ref whose pushes are deployed. Default of a new target: main; of hook install, the branch that HEAD names."`
	Namespace *string `placeholder:"NS" help:"The chain's etcd prefix. Default of a new target: /refship/REPO, for a second one /refship/REPO-NAME, with mgmt's frontends /_mgmt."`
	layoutFlags
	Rings     *string `placeholder:"NAMES" help:"Release each deploy to one ring of nodes after the other, such as canary,rest; empty for all at once. A node's ring is what refship agent --ring says; nodes without one come with the last. Default of a new target: all at once."`
	RingPause *string `placeholder:"TIME" help:"For how long all nodes of a ring run a deploy before the next ring gets it; empty for no time at all."`
	OnFailure *string `placeholder:"HOW" help:"What to do where a node cannot prepare a deploy, or its hook fails: stop releases it to no further ring, rollback goes back to what that ring has run. Empty for stop."`
	Check     *string `placeholder:"CMD" help:"A command line for sh -c that must pass before each deploy; empty for none. It runs in a copy of the tree, with the server's rights."`
	signatureFlags
}

// layoutFlags say what of a tree is deployed and how the nodes read it.
type layoutFlags struct {
	Path               *string `placeholder:"PATH" help:"Deploy only this directory of the tree; empty for the whole tree."`
	Frontend           *string `placeholder:"F" help:"How the nodes read the tree: files, or for mgmt lang, yaml, puppet, empty, or auto, which is lang or yaml as the tree has it. Default of a new target: files."`
	Entry              *string `placeholder:"FILE" help:"The file that mgmt starts with; empty for main.mcl with lang, start.yaml with yaml, site.pp with puppet. With puppet, 'agent' stands for the catalog of a puppet agent."`
	PuppetConf         *string `placeholder:"FILE" help:"With puppet, the puppet.conf in the tree that the manifest is run with; empty for none."`
	ModulePath         *string `placeholder:"DIR" help:"With lang, a directory in the tree that mgmt is to find modules in: it is also deployed as modules/. Empty for none."`
	VersionFile        *string `placeholder:"FILE" help:"With lang, a path that the tree lacks, such as files/version: mgmt finds the deploy's hash there, so that hosts can say what they run. Empty for none."`
	UnifyName          *string `placeholder:"NAME" help:"With lang, the solver of mgmt's type unification; empty for mgmt's own choice."`
	UnifyOptimizations *string `placeholder:"LIST" help:"With lang, what is asked of that solver, with commas; empty for nothing."`
	Noop               *bool   `help:"mgmt changes nothing, and says what it would change. --noop=false unsets it; likewise the other flags of this kind."`
	Sema               *string `placeholder:"N" help:"How many resources mgmt works on at a time; 0 for any number."`
	NoAutoedges        *bool   `help:"mgmt adds no edges by itself."`
	NoAutogroup        *bool   `help:"mgmt does not group resources by itself."`
	Wait               *string `placeholder:"TIME" help:"Wait for so long, such as 5m, until all nodes run what was deployed; without that the exit status is 1, and the deploy stands. Of a target: each push waits; empty: it does not. Default: what the target says, of a new target not at all."`
	LFS                *string `name:"lfs" placeholder:"HOW" help:"What becomes of Git LFS pointers: deploy-pointers deploys them as they are; empty refuses them. Default of a new target: refused."`
}

// newTarget is a target without flags. The namespace of a second target is beside that of the default one, since no
// namespace lies inside another.
func newTarget(repo, name string) target.Target {
	namespace := "/refship/" + repo
	if name != defaultTarget {
		namespace += "-" + name
	}
	return target.Target{
		Name: name, Ref: "refs/heads/main", Namespace: record.Namespace(namespace), Frontend: record.Files,
	}
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
			fmt.Sprintf("from %s to %s in %s: a chain is either refship's own or mgmt's",
				was.Frontend, t.Frontend, was.Namespace),
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
	if err := f.applyRings(&t.Rings); err != nil {
		return t, err
	}
	if f.Check != nil {
		t.Check = *f.Check
	}
	f.signatureFlags.apply(&t)
	if err := t.Validate(); err != nil {
		return t, asUsage("", err)
	}
	return t, nil
}

func (f *targetFlags) applyRings(r *record.Rings) (err error) {
	if f.Rings != nil {
		r.Names = record.RingNames(*f.Rings)
		if *f.Rings == "" {
			*r = record.Rings{}
		}
	}
	if f.RingPause != nil {
		r.Pause = 0
		if *f.RingPause != "" {
			if r.Pause, err = record.ParseRingPause(*f.RingPause); err != nil {
				return asUsage("--ring-pause", err)
			}
		}
	}
	if f.OnFailure != nil {
		r.OnFailure = record.OnFailure(*f.OnFailure)
	}
	return nil
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
	if f.PuppetConf != nil {
		t.PuppetConf = strings.TrimPrefix(*f.PuppetConf, "/")
	}
	if f.ModulePath != nil {
		t.ModulePath = strings.Trim(*f.ModulePath, "/")
	}
	if f.VersionFile != nil {
		t.VersionFile = strings.TrimPrefix(*f.VersionFile, "/")
	}
	if f.UnifyName != nil {
		t.UnifyName = *f.UnifyName
	}
	if f.UnifyOptimizations != nil {
		t.UnifyOptimizations = *f.UnifyOptimizations
	}
	if f.Sema != nil {
		if t.Sema, err = strconv.Atoi(*f.Sema); err != nil {
			return usagef("--sema: %q is not a whole number from 0", *f.Sema)
		}
	}
	if f.Wait != nil {
		t.Wait = 0
		if *f.Wait != "" {
			if t.Wait, err = target.ParseWait(*f.Wait); err != nil {
				return asUsage("--wait", err)
			}
		}
	}
	if f.LFS != nil {
		t.LFS = target.LFS(*f.LFS)
		if err := target.CheckLFS(t.LFS); err != nil {
			return asUsage("--lfs", err)
		}
	}
	for flag, setting := range map[*bool]*bool{
		f.Noop: &t.Noop, f.NoAutoedges: &t.NoAutoEdges, f.NoAutogroup: &t.NoAutoGroup,
	} {
		if flag != nil {
			*setting = *flag
		}
	}
	return nil
}
