package hooks

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/text"
)

func varsOf(given ...string) map[string]string {
	vars := map[string]string{"GIT_PUSH_OPTION_COUNT": fmt.Sprint(len(given))}
	for i, o := range given {
		vars[fmt.Sprintf("GIT_PUSH_OPTION_%d", i)] = o
	}
	return vars
}

func TestPushOptions(t *testing.T) {
	for name, c := range map[string]struct {
		given []string
		want  options
	}{
		"none":    {nil, options{}},
		"others'": {[]string{"ci.skip", "x=deploy.force", "merge_request.create", ""}, options{}},
		"force":   {[]string{"deploy.reason=a = b, ü", "deploy.force"}, options{force: true, reason: "a = b, ü"}},
		"reason":  {[]string{"deploy.reason=why"}, options{reason: "why"}},
		"skip":    {[]string{"deploy.skip", "ci.skip"}, options{skip: true}},
		"dry run": {[]string{"deploy.dry-run"}, options{dryRun: true}},
		"both":    {[]string{"deploy.dry-run", "deploy.force", "deploy.reason=x"}, options{dryRun: true, force: true, reason: "x"}},
		"long":    {[]string{"deploy.reason=" + strings.Repeat("x", 10_000)}, options{reason: strings.Repeat("x", 10_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.all = append([]string{}, c.given...)
			got, err := pushOptions(varsOf(c.given...))
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(options{})); diff != "" || err != nil {
				t.Errorf("options (-want +got), %v:\n%s", err, diff)
			}
		})
	}
	if got, err := pushOptions(nil); err != nil || len(got.all) != 0 || got.all == nil {
		t.Errorf("without a count: %+v, %v", got, err)
	}
}

func TestPushOptionsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		given      []string
		says, hint string
	}{
		"unknown":        {[]string{"deploy.forced"}, `push option "deploy.forced" is not known`, "known are deploy.force, deploy.reason=TEXT, deploy.dry-run and deploy.skip"},
		"no point":       {[]string{"deploy-dry-run"}, `push option "deploy-dry-run" is not known`, "known are"},
		"colon":          {[]string{"deploy:dry-run"}, `push option "deploy:dry-run" is not known`, "known are"},
		"bare":           {[]string{"dryrun"}, `push option "dryrun" is not known`, "known are"},
		"bare force":     {[]string{"force"}, `push option "force" is not known`, "known are"},
		"first half":     {[]string{"deploy"}, `push option "deploy" is not known`, "known are"},
		"nothing":        {[]string{"deploy."}, `push option "deploy." is not known`, "known are"},
		"capitals":       {[]string{"Deploy.Dry-Run"}, `push option "Deploy.Dry-Run" is not known`, "known are"},
		"space":          {[]string{" deploy.dry-run"}, `push option " deploy.dry-run" is not known`, "known are"},
		"space behind":   {[]string{"deploy.dry-run "}, `push option "deploy.dry-run " is not known`, "known are"},
		"twice":          {[]string{"deploy.skip", "deploy.skip"}, "push option deploy.skip is there twice", "give it once"},
		"two reasons":    {[]string{"deploy.reason=a", "deploy.reason=b"}, "push option deploy.reason is there twice", "once"},
		"valued force":   {[]string{"deploy.force=1", "deploy.reason=a"}, `push option deploy.force takes no value, and has "1"`, "git push -o deploy.force"},
		"valued dry run": {[]string{"deploy.dry-run="}, `push option deploy.dry-run takes no value, and has ""`, "git push -o deploy.dry-run"},
		"valued skip":    {[]string{"deploy.skip=false"}, `push option deploy.skip takes no value`, "git push -o deploy.skip"},
		"bare reason":    {[]string{"deploy.reason"}, "push option deploy.reason has no text", "git push -o deploy.reason='…'"},
		"empty reason":   {[]string{"deploy.reason="}, "the reason of deploy.reason is empty", "say why"},
		"blank reason":   {[]string{"deploy.reason= \t"}, "the reason of deploy.reason is empty", "say why"},
		"long reason":    {[]string{"deploy.reason=" + strings.Repeat("x", 10_001)}, "has 10001 bytes, a record takes 10000", "shorter"},
		"odd reason":     {[]string{"deploy.reason=a\x1b[2J"}, `cannot be printed: "a\x1b[2J"`, "UTF-8 on one line"},
		"two lines":      {[]string{"deploy.reason=a\nb"}, "cannot be printed", "one line"},
		"not UTF-8":      {[]string{"deploy.reason=a\xff"}, "cannot be printed", "UTF-8"},
		"no reason":      {[]string{"deploy.force"}, "deploy.force needs a reason", "git push -o deploy.force -o deploy.reason='…'"},
		"force, skip":    {[]string{"deploy.force", "deploy.reason=a", "deploy.skip"}, "push options deploy.force and deploy.skip contradict each other", "leave one of them out"},
		"reason, skip":   {[]string{"deploy.reason=a", "deploy.skip"}, "push options deploy.reason and deploy.skip contradict each other", "leave one of them out"},
		"dry run, skip":  {[]string{"deploy.skip", "deploy.dry-run"}, "push options deploy.dry-run and deploy.skip contradict each other", "leave one of them out"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pushOptions(varsOf(c.given...))
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.RemedyOf(err), c.hint) {
				t.Errorf("options are %+v, error is %v (%s), want %q (%s)", got, err, fault.RemedyOf(err), c.says, c.hint)
			}
			if diff := cmp.Diff(options{}, got, cmp.AllowUnexported(options{})); diff != "" {
				t.Errorf("options with an error:\n%s", diff)
			}
		})
	}
	for _, vars := range []map[string]string{
		{"GIT_PUSH_OPTION_COUNT": "x"}, {"GIT_PUSH_OPTION_COUNT": "-1"}, {"GIT_PUSH_OPTION_COUNT": "9"}, {"GIT_PUSH_OPTION_COUNT": "1"},
	} {
		if got, err := pushOptions(vars); err == nil {
			t.Errorf("%v gave %+v", vars, got)
		}
	}
	// Everything that is wrong is told at once, the remedy once.
	if _, err := pushOptions(varsOf("deploy.a", "deploy.b")); len(explain(fault.RemedyOf, "refused", err)) != 3 {
		t.Errorf("error is %v", err)
	}
}

// Whatever options a push has: what is taken for refship's own is exactly what was given, once, and allowed.
func FuzzPushOptions(f *testing.F) {
	f.Add("deploy.force\x00deploy.reason=why\x00ci.skip")
	f.Add("deploy.dry-run")
	f.Add("deploy.skip\x00deploy.skip")
	f.Add(" Deploy.force=\x00deploy.reason=\x1b")
	f.Fuzz(func(t *testing.T, data string) {
		given := strings.Split(data, "\x00")
		o, err := pushOptions(varsOf(given...))
		if err != nil {
			for _, line := range explain(fault.RemedyOf, "refused", err) {
				if !strings.HasPrefix(line, "refused: ") && !strings.HasPrefix(line, "hint: ") {
					t.Errorf("line %q", line)
				}
			}
			return
		}
		want := map[string]bool{"deploy.force": o.force, "deploy.dry-run": o.dryRun, "deploy.skip": o.skip, "deploy.reason=" + o.reason: o.reason != ""}
		found := map[string]bool{}
		for _, option := range given {
			if strings.HasPrefix(strings.ToLower(option), "deploy.") {
				if found[option] || !want[option] {
					t.Errorf("%q was taken in as %+v", option, o)
				}
				found[option] = true
			}
		}
		for option, is := range want {
			if is && !found[option] {
				t.Errorf("%q came from nowhere", option)
			}
		}
		if o.force && o.reason == "" || o.skip && (o.force || o.dryRun) || strings.ContainsFunc(o.reason, func(r rune) bool { return !unicode.IsPrint(r) }) ||
			text.Printable(o.reason) != o.reason {
			t.Errorf("taken: %+v", o)
		}
		if diff := cmp.Diff(given, o.all); diff != "" {
			t.Errorf("options (-given +kept):\n%s", diff)
		}
	})
}
