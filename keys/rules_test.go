package keys

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/fixture"
)

func TestParseRules(t *testing.T) {
	got, err := ParseRules("deploy:web,read:*,force:team/site-2.0,admin,push:a_b")
	want := []Rule{{Deploy, "web"}, {Read, "*"}, {Force, "team/site-2.0"}, {Admin, ""}, {Push, "a_b"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("%v, -want +got:\n%s", err, diff)
	}
}

func TestParseRulesRefuses(t *testing.T) {
	for list, message := range map[string]string{
		"":                                 "no rules given",
		",":                                `rule "": it is empty`,
		"read:web,":                        `rule "": it is empty`,
		"read":                             "read needs a repository",
		"push:":                            "push needs a repository",
		"admin:web":                        "takes no repository",
		"admin:":                           "takes no repository",
		"write:web":                        `unknown action "write"`,
		"READ:web":                         `unknown action "READ"`,
		"read:web, push:web":               `unknown action " push"`,
		"read: web":                        "other than A-Z",
		"read:**":                          "other than A-Z",
		"read:we*":                         "other than A-Z",
		"read:wéb":                         "other than A-Z",
		"read:web:x":                       "other than A-Z",
		"read:../x":                        `an element starts with .`,
		"read:a/-x":                        `an element starts with -`,
		"read:/web":                        "empty element",
		"read:team/deploy":                 "the element deploy is reserved",
		"read:web/":                        "empty element",
		"read:web.git":                     "ends in .git or .lock",
		"read:a.lock/b":                    "ends in .git or .lock",
		"read:" + strings.Repeat("x", 101): "it is 101 bytes (limit 100)",
	} {
		t.Run(list, func(t *testing.T) {
			rules, err := ParseRules(list)
			fixture.WantError(t, err, nil, message, "deploy:web,read:*")
			if rules != nil {
				t.Errorf("gave rules %v all the same", rules)
			}
		})
	}
}

// TestContainment is the whole table of which action contains which.
func TestContainment(t *testing.T) {
	actions := []Action{Read, Push, Deploy, Force, Admin}
	for i, have := range actions {
		rule := Rule{have, "web"}
		if have == Admin {
			rule.Repository = ""
		}
		key := &Key{Rules: []Rule{rule}}
		for j, want := range actions {
			if got := key.May(want, "web"); got != (j <= i) {
				t.Errorf("%s may %s web: %v", rule, want, got)
			}
			if got := key.May(want, "other"); got != (have == Admin) {
				t.Errorf("%s may %s other: %v", rule, want, got)
			}
		}
		for _, none := range []Action{"", "write", "Read"} {
			if key.May(none, "web") {
				t.Errorf("%s may %q", rule, none)
			}
		}
	}
	node := &Key{Rules: []Rule{{Node, "web"}}}
	if !node.May(Node, "web") || !node.May(Read, "web") || node.May(Push, "web") || node.May(Node, "other") {
		t.Error("node contains read, and nothing else")
	}
	if (&Key{Rules: []Rule{{Force, "web"}}}).May(Node, "web") || !(&Key{Rules: []Rule{{Action: Admin}}}).May(Node, "web") {
		t.Error("only admin contains node")
	}
	every := &Key{Rules: []Rule{{Force, "*"}}}
	if !every.May(Force, "any/thing") || every.May(Admin, "any/thing") || every.May(Admin, "") || every.May(Read, "") {
		t.Error("force:* is force on every repository, and nothing else")
	}
	web := &Key{Rules: []Rule{{Read, "web"}}}
	if web.May(Read, "*") || web.May(Read, "web/sub") || web.May(Read, "we") || (&Key{}).May(Read, "web") {
		t.Error("a rule reaches a repository that it does not name")
	}
}

func anyRule() *rapid.Generator[Rule] {
	return rapid.Custom(func(t *rapid.T) Rule {
		action := rapid.SampledFrom(Actions()).Draw(t, "action")
		if action == Admin {
			return Rule{Action: Admin}
		}
		return Rule{action, rapid.OneOf(rapid.Just("*"),
			rapid.StringMatching(`[a-z0-9_][a-z0-9_]{0,8}(/[A-Z][a-z.-]{0,3}x)?`)).Draw(t, "repository")}
	})
}

func TestRulesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(anyRule(), 1, 5).Draw(t, "rules")
		got, err := ParseRules(FormatRules(want))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v, -want +got:\n%s", err, diff)
		}
	})
}

// TestMoreRulesNeverTakeAway: what a key may do, it may also do with one more rule.
func TestMoreRulesNeverTakeAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(anyRule(), 0, 4).Draw(t, "rules")
		asked := anyRule().Draw(t, "asked")
		extra := anyRule().Draw(t, "extra")
		before := (&Key{Rules: rules}).May(asked.Action, asked.Repository)
		after := (&Key{Rules: append(rules[:len(rules):len(rules)], extra)}).May(asked.Action, asked.Repository)
		if before && !after {
			t.Fatalf("%v allow %v, and no longer with %v", rules, asked, extra)
		}
		if own := (&Key{Rules: []Rule{asked}}).May(asked.Action, asked.Repository); !own {
			t.Fatalf("%v does not allow itself", asked)
		}
	})
}

func FuzzParseRules(f *testing.F) {
	for _, seed := range []string{"", "admin", "deploy:web,read:*", "push:a/b", "read:", ",", "force:x.git",
		"read:\x00", "node:*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		rules, err := ParseRules(list)
		if err != nil {
			if rules != nil || fault.RemedyOf(err) == "" {
				t.Fatalf("%q: rules %v, remedy %q with error %v", list, rules, fault.RemedyOf(err), err)
			}
			return
		}
		if FormatRules(rules) != list {
			t.Fatalf("%q is read as %q", list, FormatRules(rules))
		}
		if strings.ContainsAny(list, "\"\\ \t\r\n\x00") {
			t.Fatalf("%q could leave its quotes", list)
		}
	})
}
