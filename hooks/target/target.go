package target

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

// Target is a named rule of one repository: what is pushed to one ref goes into one namespace.
type Target struct {
	Name      string           `json:"name"` // "default"
	Ref       string           `json:"ref"`  // full ref name
	Path      string           `json:"path"` // "" is the whole tree
	Namespace record.Namespace `json:"namespace"`
	Frontend  record.Frontend  `json:"frontend"`
	record.Settings
	Check string `json:"check"` // what sh -c runs before each deploy, and must pass; "" is nothing
	// LFS is what becomes of Git LFS pointers: DeployPointers, or "" to refuse them. An intent without it is read by
	// programs that do not know it.
	LFS LFS `json:"lfs,omitempty"`
	// RequireSignedPush takes only pushes with a good certificate (git push --signed).
	RequireSignedPush bool `json:"require_signed_push,omitempty"`
	// RequireSignedCommits wants commits that allowed signers have signed.
	RequireSignedCommits SignedCommits `json:"require_signed_commits,omitempty"`
	// Wait is for how long each push waits for the nodes that run what it deployed; 0: it does not.
	Wait time.Duration `json:"wait,omitempty"`
	// Rings say how what is pushed or deployed reaches the nodes.
	Rings record.Rings `json:"rings,omitzero"`
	// Notify is where it is told what becomes of it. It may be a secret, so that no JSON has it.
	Notify Notify `json:"-"`
}

// SignedCommits says which commits of a deploy have to be signed; "": none.
type SignedCommits string

// What a target may require.
const (
	DeployedCommit SignedCommits = "deployed" // the one that is deployed, or its tag
	AllCommits     SignedCommits = "all"      // every commit that the deploy brings
)

// CheckSignedCommits says why a target cannot have that setting.
func CheckSignedCommits(s SignedCommits) error {
	if s == "" || s == DeployedCommit || s == AllCommits {
		return nil
	}
	return fault.Refuse(fmt.Sprintf("give %s or %s, or nothing", DeployedCommit, AllCommits),
		"require-signed-commits is %q", text.Clip(string(s)))
}

// LFS is a target's setting for Git LFS pointers.
type LFS string

// DeployPointers deploys Git LFS pointers as they are.
const DeployPointers LFS = "deploy-pointers"

// CheckLFS says why a target cannot have that setting.
func CheckLFS(s LFS) error {
	if s == "" || s == DeployPointers {
		return nil
	}
	return fault.Refuse("give "+string(DeployPointers)+", or nothing to refuse Git LFS pointers",
		"lfs is %q", text.Clip(string(s)))
}

// Source is what of the repository is deployed, for reading: "main", "main:web" or "refs/tags/live:web".
func (t Target) Source() string {
	if t.Path == "" {
		return git.ShortRef(t.Ref)
	}
	return git.ShortRef(t.Ref) + ":" + t.Path
}

var targetName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// CheckName says why a target cannot have that name.
func CheckName(name string) error {
	if targetName.MatchString(name) {
		return nil
	}
	return fault.Refuse("a target's name is 1 to 32 of a-z, 0-9 and '-', first a letter or digit",
		"target name %q is not usable", text.Clip(name))
}

// Validate says what of t is not usable.
func (t Target) Validate() error {
	if err := CheckName(t.Name); err != nil {
		return err
	}
	checks := []func() error{
		t.checkRef,
		func() error { return record.CheckPath(t.Path) },
		func() error { _, err := record.ParseNamespace(string(t.Namespace)); return err },
		func() error { _, err := ParseFrontend(string(t.Frontend)); return err },
		func() error { return CheckFrontend(t.Frontend, t.Settings, t.Namespace) },
		t.checkCheck,
		func() error { return CheckLFS(t.LFS) },
		func() error { return CheckSignedCommits(t.RequireSignedCommits) },
		func() error { return checkWait(t.Wait) },
		t.checkRings,
		t.checkNotify,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
	}
	return nil
}

func (t Target) checkRef() error {
	if !utf8.ValidString(t.Ref) {
		return fmt.Errorf("ref %q is not UTF-8", t.Ref)
	}
	if strings.HasPrefix(t.Ref, "refs/namespaces/") {
		return fault.Refuse("deploy a ref outside of refs/namespaces: git tells hooks other names of those",
			"ref %s is in a namespace of git's", t.Ref)
	}
	return git.CheckRef(t.Ref)
}

func (t Target) checkRings() error {
	if t.Frontend.IsMgmt() && t.Rings != (record.Rings{}) {
		return fault.Refuse("take them away: mgmt's hosts run each deploy at once",
			"rings are for nodes that run refship agent, and the frontend is %s", t.Frontend)
	}
	return t.Rings.Validate()
}

// maxCheck is the longest command line of a check, in bytes.
const maxCheck = 4096

// checkCheck wants one command line, which is one line of a git config.
func (t Target) checkCheck() error {
	isControl := func(r rune) bool { return r != '\t' && unicode.IsControl(r) }
	bad := ""
	switch line := t.Check; {
	case line == "":
		return nil
	case strings.TrimSpace(line) == "":
		bad = "is empty"
	case len(line) > maxCheck:
		bad = fmt.Sprintf("is %d bytes (limit %d)", len(line), maxCheck)
	case !utf8.ValidString(line) || strings.ContainsFunc(line, isControl):
		bad = "is not one line of UTF-8"
	default:
		return nil
	}
	return fault.Refuse("a check is one command line for sh -c; put what is longer into a script",
		"the check %q %s", text.Clip(t.Check), bad)
}

// CheckTargets says why targets cannot be those of one repository.
func CheckTargets(targets []Target) error {
	for i, t := range targets {
		if err := t.Validate(); err != nil {
			return err
		}
		for _, o := range targets[:i] {
			if t.Name == o.Name {
				return fault.Refuse("choose another name", "target %s exists", t.Name)
			}
			if t.Namespace.Overlaps(o.Namespace) {
				return fault.Refuse("give each target a namespace of its own",
					"the namespaces of the targets %s and %s overlap: %s, %s", o.Name, t.Name, o.Namespace, t.Namespace)
			}
		}
	}
	return nil
}

// CheckRefs refuses a target whose ref cannot be beside those of the others, or is refship's own (fault.Usage). A
// config that was written before is read all the same: its other targets are deployed.
func CheckRefs(t Target, others []Target) error {
	if t.Ref == git.NotesRef || git.RefsClash(t.Ref, git.NotesRef) {
		return fault.New(fault.Usage, fmt.Sprintf("%s is no ref that can be deployed: %s is refship's own",
			text.Printable(t.Ref), git.NotesRef), "choose a branch or a tag")
	}
	if git.IsOwnRef(t.Ref) {
		return fault.New(fault.Usage, fmt.Sprintf("%s is no ref that can be deployed: it is refship's own",
			text.Printable(t.Ref)), "choose a branch or a tag")
	}
	for _, o := range others {
		if o.Name != t.Name && git.RefsClash(t.Ref, o.Ref) {
			return fault.New(fault.Usage,
				fmt.Sprintf("%s can never be beside %s, which the target %s deploys: git has no ref below another",
					text.Printable(t.Ref), text.Printable(o.Ref), o.Name), "choose another ref")
		}
	}
	return nil
}

// Namespaces are those of targets, sorted, each once.
func Namespaces(targets []Target) []record.Namespace {
	var all []record.Namespace
	for _, t := range targets {
		all = append(all, t.Namespace)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ReasonNone: the repository has no target at all.
const ReasonNone fault.Reason = "target-none"

// NoneIn says that a repository has no target.
func NoneIn(repository string) string { return repository + " has no target" }

// Find gives the target of that name. The error names the repository, and the targets that it has.
func Find(repository string, targets []Target, name string) (Target, error) {
	if at := index(targets, name); at >= 0 {
		return targets[at], nil
	}
	err := &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("%s %q", NoneIn(repository), text.Clip(name))}
	if len(targets) == 0 {
		err.Remedy, err.Reason = "it has no target yet", ReasonNone
	} else {
		err.Remedy = "its targets: " + Names(targets)
	}
	return Target{}, err
}

// index is the place of the target of that name, -1 if there is none.
func index(targets []Target, name string) int {
	return slices.IndexFunc(targets, func(t Target) bool { return t.Name == name })
}

// Names are the targets' names, for reading: "default, www".
func Names(targets []Target) string {
	var names []string
	for _, t := range targets {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

// Choose gives the target of that name, or all if no name is given.
func Choose(repository string, all []Target, name string) ([]Target, error) {
	if name == "" {
		return all, nil
	}
	t, err := Find(repository, all, name)
	return []Target{t}, err
}

// ChooseOne gives the target with a name, or the only one if the name is "".
func ChooseOne(repository string, all []Target, name string) (Target, error) {
	chosen, err := Choose(repository, all, name)
	switch {
	case err != nil:
		return Target{}, err
	case len(chosen) == 0:
		return Target{}, &fault.Error{Kind: fault.Refused, What: NoneIn(repository), Reason: ReasonNone}
	case len(chosen) > 1:
		return Target{}, &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s has %s, each with a chain of its own", repository, text.Count(len(all), "target")),
			Remedy: fmt.Sprintf("name one: %s:TARGET, which is one of: %s", repository, Names(all)),
		}
	}
	return chosen[0], nil
}

// OfRef gives the targets that deploy a ref.
func OfRef(targets []Target, ref string) []Target {
	var all []Target
	for _, t := range targets {
		if t.Ref == ref {
			all = append(all, t)
		}
	}
	return all
}

// Refs are the refs that targets deploy.
func Refs(targets []Target) []string {
	var refs []string
	for _, t := range targets {
		refs = append(refs, t.Ref)
	}
	return refs
}
