package keys

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"refship/deploy/text"
)

// Action is what a rule allows. Deploy contains Push contains Read; Force contains Deploy. Node and Witness contain Read,
// and no other contains them, but Admin, which contains everything.
type Action string

// The actions.
const (
	Read    Action = "read"
	Node    Action = "node"    // put a node's own report into etcd
	Witness Action = "witness" // put a witness's own cosignatures into etcd
	Push    Action = "push"
	Deploy  Action = "deploy"
	Force   Action = "force"
	Admin   Action = "admin"
)

// Actions are all of them, in that order.
func Actions() []Action { return []Action{Read, Node, Witness, Push, Deploy, Force, Admin} }

// contains says whether who may do a may do b.
func (a Action) contains(b Action) bool {
	switch {
	case a == b || a == Admin:
		return true
	case a == Node || b == Node || a == Witness || b == Witness:
		return b == Read
	}
	return a.rank() >= b.rank()
}

// anyRepository stands for every repository in a rule.
const anyRepository = "*"

const rulesRemedy = "rules are read:REPO, node:REPO, witness:REPO, push:REPO, deploy:REPO, force:REPO and admin, " +
	"with * for any repository, separated by commas: deploy:web,read:*"

// rank orders the actions; 0 is no action.
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
	return r.Action.contains(action)
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
