package target

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
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

// Find gives the target of that name. The error names the repository, and the targets that it has.
func Find(repository string, targets []Target, name string) (Target, error) {
	if at := index(targets, name); at >= 0 {
		return targets[at], nil
	}
	err := &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("%s has no target %q", repository, text.Clip(name))}
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

// Refs are the refs that targets deploy.
func Refs(targets []Target) []string {
	var refs []string
	for _, t := range targets {
		refs = append(refs, t.Ref)
	}
	return refs
}
