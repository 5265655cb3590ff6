package mgmt

import (
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// ReasonSettings is the reason of a refusal that other settings, frontend or entry, would end. It is about the remedy.
const ReasonSettings fault.Reason = "mgmt-settings"

// refuse says that mgmt could not run what is to be deployed, because of what is at path: what follows that in a
// sentence. Without a path it is about the whole tree.
func refuse(path, what, remedy string) *fault.Error {
	if path != "" {
		what = quote(path) + " " + what
	}
	return fault.New(fault.Refused, what, remedy)
}

// refuseSettings is refuse where other settings are the remedy.
func refuseSettings(path, what, remedy string) *fault.Error {
	err := refuse(path, what, remedy)
	err.Reason, err.About = ReasonSettings, []string{remedy}
	return err
}

// quote writes a path or a link's target, not more of it than fits a few lines.
func quote(path string) string {
	return fmt.Sprintf("%q", text.Shorten(path, 300))
}
