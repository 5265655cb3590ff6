package words

import (
	"errors"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// Explain puts an error into lines, as a pusher reads it: what became of the push ("refused", "pushed, not deployed"),
// why, and what to do, which remedy words. Of many refusals it gives the first few, and no hint twice.
func Explain(remedy func(error) string, verb string, err error) []string {
	each, more := []error{err}, ""
	var several *fault.Refusals
	if errors.As(err, &several) {
		each, more = several.Told()
	}
	var lines []string
	hinted := make(map[string]bool)
	for _, err := range each {
		var conflict *deploy.ConflictError
		if errors.As(err, &conflict) {
			lines = append(lines, verb+": "+conflict.At(), conflict.Why)
		} else {
			lines = append(lines, verb+": "+err.Error())
		}
		if hint := remedy(err); hint != "" && !hinted[hint] {
			hinted[hint] = true
			lines = append(lines, "hint: "+hint)
		}
	}
	if more != "" {
		lines = append(lines, more)
	}
	for i, line := range lines {
		lines[i] = text.Printable(line)
	}
	return lines
}
