package gitserver

import (
	"fmt"

	"refship/deploy/text"
)

// NameError: a text is no repository name.
type NameError struct{ Name, Why string }

func (e *NameError) Error() string {
	return fmt.Sprintf("%s is no repository name: %s", text.Mention(e.Name), e.Why)
}

// Hint is the remedy.
func (e *NameError) Hint() string {
	return "a name looks like config or team/config, as in ssh://git@HOST:PORT/config"
}

// UnknownRepoError: there is no repository of this name. List gives those that there are.
type UnknownRepoError struct{ Name string }

func (e *UnknownRepoError) Error() string {
	return fmt.Sprintf("repository %s does not exist", text.Mention(e.Name))
}

// Hint is the remedy on the server's command line.
func (e *UnknownRepoError) Hint() string {
	return "refship repo list shows those that exist, refship repo create " + text.Mention(e.Name) + " makes this one"
}

// ExistsError: a repository of this name is there already.
type ExistsError struct{ Name string }

func (e *ExistsError) Error() string { return fmt.Sprintf("repository %s exists already", e.Name) }

// Hint is the remedy.
func (e *ExistsError) Hint() string { return "refship repo show " + e.Name + " tells what it is" }

// OverlapError: a new target's namespace is, contains, or lies inside that of another target.
type OverlapError struct {
	Namespace       string
	Other           string // the other target's namespace
	OtherRepository string
	OtherTarget     string
}

// mgmtNamespace is the only one that mgmt reads (deploy.MgmtNamespace, which this package does not import).
const mgmtNamespace = "/_mgmt"

func (e *OverlapError) Error() string {
	return fmt.Sprintf("namespace %s overlaps %s, where target %s of repository %s deploys to",
		e.Namespace, e.Other, e.OtherTarget, e.OtherRepository)
}

// Hint is the remedy.
func (e *OverlapError) Hint() string {
	if e.Namespace == mgmtNamespace && e.Other == mgmtNamespace {
		return "a cluster of mgmt has one chain: deploy all of it from one repository, or run another server beside the other cluster's etcd"
	}
	return "give this target a namespace of its own with --namespace"
}

// usageError is an ssh command that is not understood (exit 2).
type usageError struct{ what, remedy string }

func (e *usageError) Error() string { return e.what }
func (e *usageError) Hint() string  { return e.remedy }

// refusedError is an ssh command that this key may not run, or not on this repository (exit 4).
type refusedError struct{ what, remedy string }

func (e *refusedError) Error() string { return e.what }
func (e *refusedError) Hint() string  { return e.remedy }
