package target

import (
	"fmt"
	"path/filepath"
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

// Section is the section of a repository's git config that holds the targets.
const Section = "refship"

// Target is a named rule of one repository: what is pushed to one ref goes into one namespace. It is kept in the
// repository's git config as refship.<name>.ref, .path, .namespace, .frontend, .check, and the settings of mgmt's frontends
// (.entry, .noop, .sema, .no-autoedges, .no-autogroup); all but ref and namespace may be absent: the whole tree, files, no
// check, and what mgmt does by itself.
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

// Validate says what of t is not usable.
func (t Target) Validate() error {
	if !targetName.MatchString(t.Name) {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("target name %q is not usable", text.Clip(t.Name)),
			Remedy: "a target's name is 1 to 32 of a-z, 0-9 and '-', first a letter or digit",
		}
	}
	if !utf8.ValidString(t.Ref) {
		return fmt.Errorf("target %s: ref %q is not UTF-8", t.Name, t.Ref)
	}
	if err := git.CheckRef(t.Ref); err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	if strings.HasPrefix(t.Ref, "refs/namespaces/") {
		return fmt.Errorf("target %s: %w", t.Name, &fault.Error{Kind: fault.Refused, What: "ref " + t.Ref + " is in a namespace of git's", Remedy: "deploy a ref outside of refs/namespaces: hooks are told other names of those"})
	}
	if err := record.CheckPath(t.Path); err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	if _, err := record.ParseNamespace(string(t.Namespace)); err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	if _, err := ParseFrontend(string(t.Frontend)); err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	if err := CheckTarget(t.Frontend, t.Settings, t.Namespace); err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	if err := checkCheck(t.Check); err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	return nil
}

// CheckTargets holds the targets of one repository against each other.
func CheckTargets(targets []Target) error {
	for i, t := range targets {
		if err := t.Validate(); err != nil {
			return err
		}
		for _, o := range targets[:i] {
			if t.Name == o.Name {
				return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("target %s exists", t.Name), Remedy: "choose another name"}
			}
			if t.Namespace.Overlaps(o.Namespace) {
				return &fault.Error{
					Kind:   fault.Refused,
					What:   fmt.Sprintf("the namespaces of the targets %s and %s overlap: %s, %s", o.Name, t.Name, o.Namespace, t.Namespace),
					Remedy: "give each target a namespace of its own",
				}
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

// ReadTargets reads the targets of the repository at gitDir, sorted by name. A setting that is unknown, twice there, or
// not usable is an error that names it: nothing is deployed by half a rule. The file is read itself (git-config(1) says
// how it looks), without git's includes, since a process for it would cost each push some milliseconds.
func ReadTargets(gitDir string) ([]Target, error) {
	r, err := ReadConfig(filepath.Join(gitDir, "config"))
	return r.Targets, err
}

func byName(a, b Target) int { return strings.Compare(a.Name, b.Name) }

func unknownSetting(key string) error {
	return &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("the repository's config has the unknown setting %s", key),
		Remedy: "refship.<target>.ref, .path, .namespace, .frontend, .check, ." + strings.Join(record.SettingNames(), ", .") +
			" and refship." + strings.Join(SettingNames, ", .") + " are known; take it out with: git config --unset-all " + key,
	}
}

// take reads one setting of a target; seen are those that were read.
func (t *Target) take(key, value string, seen map[string]bool) error {
	if seen[key] {
		return fmt.Errorf("read the repository's config: refship.%s.%s is there twice", t.Name, key)
	}
	seen[key] = true
	switch key {
	case "ref":
		t.Ref = value
	case "path":
		t.Path = value
	case "namespace":
		t.Namespace = record.Namespace(value)
	case "frontend":
		t.Frontend = record.Frontend(value)
	case "check":
		t.Check = value
	default:
		if !slices.Contains(record.SettingNames(), key) {
			return unknownSetting("refship." + t.Name + "." + key)
		}
		if err := t.Settings.Set(key, value); err != nil {
			return fmt.Errorf("read the repository's config: refship.%s.%s: %w", t.Name, key, err)
		}
	}
	return nil
}

// maxCheck is the longest command line of a check, in bytes.
const maxCheck = 4096

// checkCheck takes what is one command line, and one line of a git config.
func checkCheck(line string) error {
	bad := ""
	switch {
	case line == "":
	case strings.TrimSpace(line) == "":
		bad = "is empty"
	case len(line) > maxCheck:
		bad = fmt.Sprintf("has %d bytes, %d are possible", len(line), maxCheck)
	case !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }):
		bad = "is not one line of UTF-8"
	}
	if bad == "" {
		return nil
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("the check %q %s", text.Clip(line), bad),
		Remedy: "a check is one command line for sh -c; put what is longer into a script",
	}
}
