package main

import (
	"testing"

	"refship/deploy"
	"refship/deploy/record"
	"refship/hooks/install"
	"refship/hooks/status"
)

// Where mgmt itself has deployed a ref's commit, no script reads that what runs is what the ref has: no record says it.
func TestRelationOfMgmtsOwnDeploy(t *testing.T) {
	for want, rec := range map[deploy.Relation]*record.Record{"": nil, deploy.RelationEqual: {}} {
		r := &repositoryStatus{repo: &install.Repository{}, installed: &install.Status{}, targets: []status.Status{{
			Relation: deploy.RelationEqual, State: &record.State{Head: &record.Deploy{ID: 1, Record: rec}},
		}}}
		if got := r.describe().Targets[0]; got.Relation != want || got.Head != 1 {
			t.Errorf("record %v: got %+v, want relation %q", rec, got, want)
		}
	}
}
