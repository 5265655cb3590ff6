package hooks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// Push options that refship takes; git push -o (git-push(1)). Options that do not begin with "deploy." are others'.
const (
	optionForce  = "deploy.force"
	optionReason = "deploy.reason"
	optionDryRun = "deploy.dry-run"
	optionSkip   = "deploy.skip"
)

const (
	knownOptions = "known are deploy.force, deploy.reason=TEXT, deploy.dry-run and deploy.skip"
	forceUsage   = "git push -o deploy.force -o deploy.reason='…'"
)

// options are a push's options.
type options struct {
	all    []string // as git handed them over, those of others too
	force  bool     // override what the previous hash refuses
	reason string   // "" if none was given
	dryRun bool     // check everything, then refuse
	skip   bool     // store, do not deploy
}

// pushOptions reads GIT_PUSH_OPTION_COUNT and GIT_PUSH_OPTION_<n> (githooks(5)) strictly: who misspells deploy.dry-run
// must not get a deploy. The error tells all that is wrong.
func pushOptions(vars map[string]string) (options, error) {
	o := options{all: []string{}}
	text1, ok := vars["GIT_PUSH_OPTION_COUNT"]
	if !ok {
		return o, nil
	}
	n, err := strconv.Atoi(text1)
	if err != nil || n < 0 || n > len(vars) {
		return options{}, fmt.Errorf("read push options: their count is %q", text.Clip(text1))
	}
	var refused refusals
	seen := make(map[string]bool)
	for i := range n {
		option, ok := vars["GIT_PUSH_OPTION_"+strconv.Itoa(i)]
		if !ok {
			return options{}, fmt.Errorf("read push options: number %d of %d is missing", i, n)
		}
		o.all = append(o.all, option)
		if isOwn(option) {
			refused.add(o.take(option, seen))
		}
	}
	refused.add(o.check(seen))
	if err := refused.err(); err != nil {
		return options{}, err
	}
	return o, nil
}

// isOwn tells options of refship, and what was meant to be one, from those of others: "Deploy.force",
// "deploy-dry-run" and "dryrun" would otherwise pass for others', and the push that was to be tried would be
// deployed.
func isOwn(option string) bool {
	name, _, _ := strings.Cut(strings.ToLower(option), "=")
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, name)
	return strings.HasPrefix(letters, "deploy") ||
		slices.Contains([]string{"force", "reason", "dryrun", "skip"}, letters)
}

// take reads one option of refship's.
func (o *options) take(option string, seen map[string]bool) error {
	name, value, valued := strings.Cut(option, "=")
	flags := map[string]*bool{optionForce: &o.force, optionDryRun: &o.dryRun, optionSkip: &o.skip}
	flag, known := flags[name]
	twice := seen[name]
	seen[name] = true
	switch {
	case !known && name != optionReason:
		return fault.Refuse(knownOptions, "push option %q is not known", text.Clip(option))
	case twice:
		return fault.Refuse("give it once", "push option %s is there twice", name)
	case known && valued:
		return fault.Refuse("give it alone: git push -o "+name,
			"push option %s takes no value, and has %q", name, text.Clip(value))
	case known:
		*flag = true
		return nil
	case !valued:
		return fault.Refuse("git push -o deploy.reason='…'", "push option deploy.reason has no text")
	}
	o.reason = value
	return checkReason(value)
}

// checkReason takes what a record can hold and a line of a log can show.
func checkReason(reason string) error {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case strings.TrimSpace(reason) == "":
		return fault.Refuse("say why: git push -o deploy.reason='…'", "the reason of deploy.reason is empty")
	case len(reason) > deploy.MaxReason:
		return fault.Refuse("say it shorter",
			"the reason of deploy.reason has %d bytes, a record takes %d", len(reason), deploy.MaxReason)
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, unprintable):
		return fault.Refuse("say it in UTF-8 on one line",
			"the reason of deploy.reason has characters that cannot be printed: %q", text.Clip(reason))
	}
	return nil
}

// check holds the options against each other.
func (o *options) check(seen map[string]bool) error {
	contradiction := func(a, b, remedy string) error {
		return fault.Refuse(remedy, "push options %s and %s contradict each other", a, b)
	}
	switch {
	case o.force && o.skip:
		return contradiction(optionForce, optionSkip, "with "+optionSkip+" nothing is deployed: leave one of them out")
	case o.skip && seen[optionReason]:
		return contradiction(optionReason, optionSkip,
			"with "+optionSkip+" there is no record to keep a reason: leave one of them out")
	case o.dryRun && o.skip:
		return contradiction(optionDryRun, optionSkip,
			"with "+optionSkip+" there is nothing to try: leave one of them out")
	case o.force && !seen[optionReason]:
		return fault.Refuse(forceUsage, "deploy.force needs a reason")
	}
	return nil
}
