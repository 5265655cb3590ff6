package hooks_test

import (
	"fmt"
	"testing"

	"refship/deploy/record"
	"refship/hooks"
	"refship/hooks/report"
)

// A rollback that is refused has its line in the log and is counted, however early it was refused.
func TestRefusedRollbackIsReported(t *testing.T) {
	s := newSite(t, defaultTarget)
	ask := func(deploy, reason string) {
		t.Helper()
		s.reports.take()
		_, err := s.server.Rollback(t.Context(), &hooks.Rollback{
			Place:  hooks.Place{Repository: "config", GitDir: s.bare, Target: defaultTarget},
			Deploy: deploy, Who: record.Pusher{Name: "ops"}, Reason: reason, Tell: func(string) {},
		})
		if err == nil {
			t.Fatalf("a rollback to %q is not refused", deploy)
		}
		all := s.reports.take()
		if len(all) != 1 || all[0].Kind != record.KindRollback || all[0].Repository != "config" ||
			all[0].Result != report.Refused || all[0].Deploys != 0 {
			t.Errorf("rollback to %q: reports %+v", deploy, all)
		}
		line := s.last("rollback")
		if line["result"] != "refused" || line["user"] != "ops" || line["asked"] != deploy ||
			line["namespace"] != "/refship/config" || line["error"] != err.Error() {
			t.Errorf("rollback to %q: logged %v, error %v", deploy, line, err)
		}
	}
	ask("head~1", "there is nothing yet")
	s.commit("a.txt", "one\n")
	s.user("laptop").push("main").published(t, 1)
	ask("1", "")
	ask("first", "which one")
	ask("head~1", "there is only one")
	ask("7", "there is only one")
	if line := fmt.Sprint(s.last("rollback")["to"]); line != "0" {
		t.Errorf("to %s", line)
	}
}
