package keys

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"refship/deploy/text"
)

// Action is what a rule allows. Deploy contains Push contains Read; Force contains Deploy; Admin contains everything.
type Action string

// The actions, each containing the ones before it.
const (
	Read   Action = "read"
	Push   Action = "push"
	Deploy Action = "deploy"
	Force  Action = "force"
	Admin  Action = "admin"
)

// Actions are all of them, in that order.
func Actions() []Action { return []Action{Read, Push, Deploy, Force, Admin} }

// anyRepository stands for every repository in a rule.
const anyRepository = "*"

const rulesRemedy = "rules are read:REPO, push:REPO, deploy:REPO, force:REPO and admin, with * for any repository, " +
	"separated by commas: deploy:web,read:*"

// rank orders the actions by what they contain; 0 is no action.
func (a Action) rank() int { return slices.Index(Actions(), a) + 1 }

// Rule allows Action on Repository ("*": any; "" for Admin).
type Rule struct {
	Action     Action
	Repository string
}

// String gives the rule as it is written: "deploy:web", "read:*", "admin".
func (r Rule) String() string {
	if r.Action == Admin && r.Repository == "" {
		return string(Admin)
	}
	return string(r.Action) + ":" + r.Repository
}

// allows says whether the rule lets its key do action on repository.
func (r Rule) allows(action Action, repository string) bool {
	if action.rank() == 0 {
		return false
	}
	if r.Action == Admin {
		return true
	}
	if repository == "" || r.Repository != anyRepository && r.Repository != repository {
		return false
	}
	return r.Action.rank() >= action.rank()
}

// ParseRules parses a list such as "deploy:web,read:*": at least one rule, separated by commas, no spaces. Its errors
// name the rule.
func ParseRules(list string) ([]Rule, error) {
	if list == "" {
		return nil, withRemedy(rulesRemedy, "no rules given")
	}
	var rules []Rule
	for one := range strings.SplitSeq(list, ",") {
		rule, err := parseRule(one)
		if err != nil {
			return nil, withRemedy(rulesRemedy, "parse rule %q: %w", one, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// FormatRules is the inverse of ParseRules.
func FormatRules(rules []Rule) string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = r.String()
	}
	return strings.Join(texts, ",")
}

func parseRule(rule string) (Rule, error) {
	name, repository, colon := strings.Cut(rule, ":")
	action := Action(name)
	switch {
	case rule == "":
		return Rule{}, errors.New("it is empty")
	case action.rank() == 0:
		return Rule{}, fmt.Errorf("unknown action %q", name)
	case action == Admin && colon:
		return Rule{}, errors.New("admin is for everything and takes no repository")
	case action == Admin:
		return Rule{Action: Admin}, nil
	case repository == "":
		return Rule{}, fmt.Errorf("%s needs a repository", action)
	}
	if repository != anyRepository { // a typing error must not become a rule that never applies
		if why := text.BadRepositoryName(repository); why != "" {
			return Rule{}, fmt.Errorf("%q is no repository name: %s", repository, why)
		}
	}
	return Rule{Action: action, Repository: repository}, nil
}

// isAlnum is for ASCII only.
func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
