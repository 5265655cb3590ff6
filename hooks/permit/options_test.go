package permit

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/text"
)

func varsOf(given ...string) map[string]string {
	vars := map[string]string{"GIT_PUSH_OPTION_COUNT": fmt.Sprint(len(given))}
	for i, o := range given {
		vars[fmt.Sprintf("GIT_PUSH_OPTION_%d", i)] = o
	}
	return vars
}

// told gives the refusals that an error tells.
func told(t *testing.T, err error) []error {
	t.Helper()
	var refused *fault.Refusals
	if !errors.As(err, &refused) {
		t.Fatalf("error is %v, want refusals", err)
	}
	first, _ := refused.Told()
	return first
}

func TestPushOptions(t *testing.T) {
	for name, c := range map[string]struct {
		given []string
		want  Options
	}{
		"none":    {nil, Options{}},
		"others'": {[]string{"ci.skip", "x=deploy.force", "merge_request.create", ""}, Options{}},
		"force":   {[]string{"deploy.reason=a = b, ü", "deploy.force"}, Options{Force: true, Reason: "a = b, ü"}},
		"reason":  {[]string{"deploy.reason=why"}, Options{Reason: "why"}},
		"skip":    {[]string{"deploy.skip", "ci.skip"}, Options{Skip: true}},
		"dry run": {[]string{"deploy.dry-run"}, Options{DryRun: true}},
		"go-git": {[]string{"deploy.dry-run=", "deploy.force=", "deploy.reason=x"},
			Options{DryRun: true, Force: true, Reason: "x"}},
		"go-git's skip":        {[]string{"deploy.skip="}, Options{Skip: true}},
		"wait":                 {[]string{"deploy.wait"}, Options{Wait: 2 * time.Minute}},
		"go-git's wait":        {[]string{"deploy.wait="}, Options{Wait: 2 * time.Minute}},
		"wait, so long":        {[]string{"deploy.wait=90s"}, Options{Wait: 90 * time.Second}},
		"again":                {[]string{"deploy.again=7"}, Options{Again: []record.ID{7}}},
		"again, of two chains": {[]string{"deploy.again=7", "deploy.again=3"}, Options{Again: []record.ID{7, 3}}},
		"both": {[]string{"deploy.dry-run", "deploy.force", "deploy.reason=x"},
			Options{DryRun: true, Force: true, Reason: "x"}},
		"long": {[]string{"deploy.reason=" + strings.Repeat("x", 10_000)}, Options{Reason: strings.Repeat("x", 10_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.All = append([]string{}, c.given...)
			got, err := ReadOptions(varsOf(c.given...))
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("options (-want +got), %v:\n%s", err, diff)
			}
		})
	}
	if got, err := ReadOptions(nil); err != nil || len(got.All) != 0 || got.All == nil {
		t.Errorf("without a count: %+v, %v", got, err)
	}
}

func TestPushOptionsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		given []string
		names []string // what the error names
	}{
		"unknown":        {[]string{"deploy.forced"}, []string{`"deploy.forced"`}},
		"no point":       {[]string{"deploy-dry-run"}, []string{`"deploy-dry-run"`}},
		"colon":          {[]string{"deploy:dry-run"}, []string{`"deploy:dry-run"`}},
		"bare":           {[]string{"dryrun"}, []string{`"dryrun"`}},
		"bare force":     {[]string{"force"}, []string{`"force"`}},
		"first half":     {[]string{"deploy"}, []string{`"deploy"`}},
		"nothing":        {[]string{"deploy."}, []string{`"deploy."`}},
		"capitals":       {[]string{"Deploy.Dry-Run"}, []string{`"Deploy.Dry-Run"`}},
		"space":          {[]string{" deploy.dry-run"}, []string{`" deploy.dry-run"`}},
		"space behind":   {[]string{"deploy.dry-run "}, []string{`"deploy.dry-run "`}},
		"twice":          {[]string{"deploy.skip", "deploy.skip"}, []string{"deploy.skip", "twice"}},
		"two reasons":    {[]string{"deploy.reason=a", "deploy.reason=b"}, []string{"deploy.reason", "twice"}},
		"valued force":   {[]string{"deploy.force=1", "deploy.reason=a"}, []string{"deploy.force", `"1"`}},
		"valued dry run": {[]string{"deploy.dry-run= "}, []string{"deploy.dry-run", `" "`}},
		"twice, one way": {[]string{"deploy.skip", "deploy.skip="}, []string{"deploy.skip", "twice"}},
		"valued skip":    {[]string{"deploy.skip=false"}, []string{"deploy.skip", `"false"`}},
		"bare reason":    {[]string{"deploy.reason"}, []string{"deploy.reason"}},
		"empty reason":   {[]string{"deploy.reason="}, []string{"deploy.reason"}},
		"blank reason":   {[]string{"deploy.reason= \t"}, []string{"deploy.reason"}},
		"long reason":    {[]string{"deploy.reason=" + strings.Repeat("x", 10_001)}, []string{"deploy.reason", "10001"}},
		"odd reason":     {[]string{"deploy.reason=a\x1b[2J"}, []string{"deploy.reason", `"a\x1b[2J"`}},
		"two lines":      {[]string{"deploy.reason=a\nb"}, []string{"deploy.reason", `"a\nb"`}},
		"not UTF-8":      {[]string{"deploy.reason=a\xff"}, []string{"deploy.reason", `"a\xff"`}},
		"again, no id":   {[]string{"deploy.again"}, []string{"deploy.again", `""`}},
		"again, bad id":  {[]string{"deploy.again=head"}, []string{"deploy.again", `"head"`}},
		"again twice":    {[]string{"deploy.again=1", "deploy.again=1"}, []string{"deploy.again", "twice"}},
		"again, skip":    {[]string{"deploy.again=1", "deploy.skip"}, []string{"deploy.again", "deploy.skip"}},
		"no reason":      {[]string{"deploy.force"}, []string{"deploy.force", "reason"}},
		"force, skip": {[]string{"deploy.force", "deploy.reason=a", "deploy.skip"},
			[]string{"deploy.force", "deploy.skip"}},
		"reason, skip":  {[]string{"deploy.reason=a", "deploy.skip"}, []string{"deploy.reason", "deploy.skip"}},
		"dry run, skip": {[]string{"deploy.skip", "deploy.dry-run"}, []string{"deploy.dry-run", "deploy.skip"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadOptions(varsOf(c.given...))
			if err == nil {
				t.Fatalf("options are %+v", got)
			}
			fixture.WantReason(t, fault.Refused, err, "")
			for _, name := range c.names {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("error %q, want %q in it", err, name)
				}
			}
			if diff := cmp.Diff(Options{}, got); diff != "" {
				t.Errorf("options with an error:\n%s", diff)
			}
		})
	}
	for _, vars := range []map[string]string{
		{"GIT_PUSH_OPTION_COUNT": "x"}, {"GIT_PUSH_OPTION_COUNT": "-1"}, {"GIT_PUSH_OPTION_COUNT": "9"},
		{"GIT_PUSH_OPTION_COUNT": "1"},
	} {
		if got, err := ReadOptions(vars); err == nil {
			t.Errorf("%v gave %+v", vars, got)
		}
	}
	// Everything that is wrong is told at once.
	_, err := ReadOptions(varsOf("deploy.a", "deploy.b"))
	if all := told(t, err); len(all) != 2 {
		t.Errorf("error is %v", err)
	}
}

// Whatever options a push has: what is taken for refship's own is exactly what was given, once, and allowed.
func FuzzPushOptions(f *testing.F) {
	f.Add("deploy.force\x00deploy.reason=why\x00ci.skip")
	f.Add("deploy.dry-run")
	f.Add("deploy.skip\x00deploy.skip")
	f.Add("deploy.dry-run=\x00deploy.skip")
	f.Add("deploy.dry-run=")
	f.Add("deploy.again=7\x00deploy.again=x")
	f.Add(" Deploy.force=\x00deploy.reason=\x1b")
	f.Fuzz(func(t *testing.T, data string) {
		given := strings.Split(data, "\x00")
		o, err := ReadOptions(varsOf(given...))
		if err != nil {
			all := told(t, err)
			for _, refusal := range all {
				if fault.RemedyOf(refusal) == "" || text.Printable(refusal.Error()) != refusal.Error() {
					t.Errorf("refused by %q, %q", refusal, fault.RemedyOf(refusal))
				}
			}
			return
		}
		want := map[string]bool{"deploy.force": o.Force, "deploy.dry-run": o.DryRun, "deploy.skip": o.Skip,
			"deploy.reason=" + o.Reason: o.Reason != ""}
		for _, id := range o.Again {
			want["deploy.again="+id.String()] = true
		}
		found := map[string]bool{}
		for _, option := range given {
			if strings.HasPrefix(strings.ToLower(option), "deploy.") {
				if alone := strings.TrimSuffix(option, "="); want[alone] {
					option = alone // some clients write it so
				}
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
		if o.Force && o.Reason == "" || o.Skip && (o.Force || o.DryRun) ||
			strings.ContainsFunc(o.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) ||
			text.Printable(o.Reason) != o.Reason {
			t.Errorf("taken: %+v", o)
		}
		if diff := cmp.Diff(given, o.All); diff != "" {
			t.Errorf("options (-given +kept):\n%s", diff)
		}
	})
}
