package hooks_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/record"
)

// How far each delivery is, is told while it runs.
func TestSteps(t *testing.T) {
	t.Parallel()
	www, etc := files("www", "refs/heads/main", "www"), files("etc", "refs/heads/main", "etc")
	s := newSite(t, www, etc)
	laptop := s.user("laptop")
	// steps are those of each target since the last time, in words.
	steps := func() map[string]string {
		t.Helper()
		all, numbers := map[string][]string{}, map[uint64]string{}
		for _, step := range s.steps.take() {
			if of, known := numbers[step.Delivery]; known && of != step.Target {
				t.Errorf("delivery %d is of %s and %s", step.Delivery, of, step.Target)
			}
			numbers[step.Delivery] = step.Target
			if step.Repository != "config" || step.By != "laptop" && step.By != "ops" || step.Hash == "" ||
				string(step.Namespace) != "/refship/"+step.Target {
				t.Errorf("step %+v", step)
			}
			said := string(step.Phase)
			if step.ID != 0 {
				said += fmt.Sprint(" ", step.ID)
			}
			all[step.Target] = append(all[step.Target], said)
		}
		words := map[string]string{}
		for target, said := range all {
			words[target] = strings.Join(said, ", ")
		}
		return words
	}
	want := func(what string, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, steps()); diff != "" {
			t.Errorf("%s: steps (-want +got):\n%s", what, diff)
		}
	}
	const published = "checking, storing, publishing, published "
	s.commit("www/a", "one")
	s.commit("etc/a", "one")
	laptop.push("main")
	want("a push", map[string]string{"www": published + "1", "etc": published + "1"})
	s.commit("www/a", "two")
	laptop.push("main")
	want("a push for one of two", map[string]string{"www": published + "2", "etc": "checking, idle 1"})
	s.commit("www/a", "three")
	laptop.with("deploy.dry-run").push("main")
	want("a dry run", map[string]string{})
	s.put("/refship/www/refship/hold", "not now")
	laptop.push("main")
	want("a refused push", map[string]string{"www": "checking, failed", "etc": "checking, idle 1"})
	s.del("/refship/www/refship/hold")
	laptop.with("deploy.skip").push("main")
	want("a skipped push", map[string]string{})
	if err := s.server.Deploy(t.Context(), nil, "config", s.bare, "www", record.Pusher{Name: "ops", Via: "ssh"},
		func(string) {}); err != nil {
		t.Fatal(err)
	}
	want("a deploy", map[string]string{"www": published + "3"})
}
