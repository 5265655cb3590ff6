package permit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// Push options that refship takes; git push -o (git-push(1)). Options that do not begin with "deploy." are others'.
const (
	optionForce  = "deploy.force"
	optionAgain  = "deploy.again"
	optionReason = "deploy.reason"
	optionDryRun = "deploy.dry-run"
	optionSkip   = "deploy.skip"
	optionWait   = "deploy.wait"
)

const (
	knownOptions = "known are deploy.force, deploy.reason=TEXT, deploy.again=ID, deploy.dry-run, deploy.skip and " +
		"deploy.wait[=TIME]"
	forceUsage = "git push -o deploy.force -o deploy.reason='…'"
)

// Options are a push's options.
type Options struct {
	All    []string      // as git handed them over, those of others too
	Force  bool          // override what the previous hash refuses
	Reason string        // "" if none was given
	DryRun bool          // check everything, then refuse
	Skip   bool          // store, do not deploy
	Wait   time.Duration // for nodes that run what was deployed; 0: none was asked for
	Again  []record.ID   // heads, of one chain each, whose undone deploys may come back
}

// ReadOptions reads GIT_PUSH_OPTION_COUNT and GIT_PUSH_OPTION_<n> (githooks(5)) strictly: a misspelt deploy.dry-run
// must not deploy. The error tells all that is wrong.
func ReadOptions(vars map[string]string) (Options, error) {
	o := Options{All: []string{}}
	given, ok := vars["GIT_PUSH_OPTION_COUNT"]
	if !ok {
		return o, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 0 || n > len(vars) {
		return Options{}, fmt.Errorf("read push options: their count is %q", text.Clip(given))
	}
	var refused fault.Refusals
	seen := make(map[string]bool)
	for i := range n {
		option, ok := vars["GIT_PUSH_OPTION_"+strconv.Itoa(i)]
		if !ok {
			return Options{}, fmt.Errorf("read push options: number %d of %d is missing", i, n)
		}
		o.All = append(o.All, option)
		if isOwn(option) {
			refused.Add(o.takeOption(option, seen))
		}
	}
	refused.Add(o.check(seen))
	if err := refused.Err(); err != nil {
		return Options{}, err
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
		slices.Contains([]string{"force", "reason", "again", "dryrun", "skip", "wait"}, letters)
}

// takeOption reads one option of refship's.
func (o *Options) takeOption(option string, seen map[string]bool) error {
	name, value, valued := strings.Cut(option, "=")
	if name == optionAgain && !seen[option] { // a push may go into several chains
		seen[name], seen[option] = true, true
		return o.takeAgain(value)
	}
	if name == optionWait && !seen[name] {
		seen[name] = true
		return o.takeWait(value)
	}
	flags := map[string]*bool{optionForce: &o.Force, optionDryRun: &o.DryRun, optionSkip: &o.Skip}
	flag, known := flags[name]
	twice := seen[name]
	seen[name] = true
	switch {
	case !known && name != optionReason && name != optionAgain && name != optionWait:
		return fault.Refuse(knownOptions, "push option %q is not known", text.Clip(option))
	case twice:
		return fault.Refuse("give it once", "push option %s is there twice", name)
	case known && value != "":
		return fault.Refuse("give it alone: git push -o "+name,
			"push option %s takes no value, and has %q", name, text.Clip(value))
	case known:
		*flag = true
		return nil
	case !valued:
		return fault.Refuse("git push -o deploy.reason='…'", "push option deploy.reason has no text")
	}
	o.Reason = value
	return checkReason(value)
}

// takeAgain takes the value of deploy.again in.
func (o *Options) takeAgain(value string) error {
	id, err := record.ParseID(value)
	if err != nil {
		return fault.Refuse("give the head's number, as the refusal named it: git push -o deploy.again=ID",
			"push option deploy.again has %q", text.Clip(value))
	}
	o.Again = append(o.Again, id)
	return nil
}

// takeWait takes the value of deploy.wait in. An empty one is none: go-git sends "deploy.wait=".
func (o *Options) takeWait(value string) (err error) {
	if o.Wait, err = target.ParseWait(value); err != nil {
		return fmt.Errorf("push option deploy.wait: %w", err)
	}
	return nil
}

// checkReason takes what a record can hold and a line of a log can show.
func checkReason(reason string) error {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case strings.TrimSpace(reason) == "":
		return fault.Refuse("say why: git push -o deploy.reason='…'", "the reason of deploy.reason is empty")
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, unprintable):
		return fault.Refuse("say it in UTF-8 on one line",
			"the reason of deploy.reason has characters that cannot be printed: %q", text.Clip(reason))
	}
	if err := record.CheckReason(reason); err != nil {
		return fmt.Errorf("push option deploy.reason: %w", err)
	}
	return nil
}

// check holds the options against each other.
func (o *Options) check(seen map[string]bool) error {
	withSkip := func(option, remedy string) error {
		return fault.Refuse(remedy, "push options %s and %s contradict each other", option, optionSkip)
	}
	switch {
	case o.Force && o.Skip:
		return withSkip(optionForce, "with "+optionSkip+" nothing is deployed: leave one of them out")
	case o.Skip && seen[optionReason]:
		return withSkip(optionReason, "with "+optionSkip+" there is no record to keep a reason: leave one of them out")
	case o.Skip && o.Wait != 0:
		return withSkip(optionWait, "with "+optionSkip+" nothing is deployed: leave one of them out")
	case o.DryRun && o.Wait != 0:
		return fault.Refuse("leave one of them out", "push options %s and %s contradict each other: nothing is deployed",
			optionWait, optionDryRun)
	case o.Skip && seen[optionAgain]:
		return withSkip(optionAgain, "with "+optionSkip+" nothing is deployed: leave one of them out")
	case o.DryRun && o.Skip:
		return withSkip(optionDryRun, "with "+optionSkip+" there is nothing to try: leave one of them out")
	case o.Force && !seen[optionReason]:
		return fault.Refuse(forceUsage, "deploy.force needs a reason")
	}
	return nil
}
