package report

import (
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/target"
)

// Refusal is a push, or a deploy that was asked for, that is not deployed.
type Refusal struct {
	Repository string
	GitDir     string
	Targets    []target.Target // that are not deployed
	Who        record.Pusher
	Moved      bool // the refs are where they should be; else the push was refused
	Updates    []git.RefUpdate
	Err        error
}
