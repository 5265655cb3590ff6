package words

import (
	"fmt"
	"strings"

	"refship/deploy/text"
	"refship/hooks/target"
)

// Undeployed is what became of a push whose ref has moved and whose deploy failed.
const Undeployed = "pushed, not deployed"

// Moved says what to do about a ref that has moved and was not deployed. redeploy is the command that deploys it.
func Moved(redeploy string) string { return "the ref has moved; " + deployWith(redeploy) }

// Skipped says that refs were stored only, as asked for.
func Skipped(refs []string, redeploy string) string {
	return CountRefs(refs) + " stored, not deployed: deploy.skip; " + deployWith(redeploy)
}

// Stored says why refs were not deployed that no target deploys.
func Stored(repository string, targets []target.Target, refs []string) string {
	if len(targets) == 0 {
		return CountRefs(refs) + " stored; " + target.NoneIn(repository)
	}
	var rules []string
	for _, t := range targets {
		rules = append(rules, fmt.Sprintf("%s deploys %s", t.Name, t.Ref))
	}
	return fmt.Sprintf("%s stored, not deployed: %s", CountRefs(refs), strings.Join(rules, ", "))
}

// CountRefs names one ref, or counts several.
func CountRefs(refs []string) string {
	if len(refs) == 1 {
		return refs[0]
	}
	return fmt.Sprintf("%d refs (%s)", len(refs), text.FirstFew(refs))
}

// deployWith says to run a command. One of the program itself is for the machine of the repository: a pusher is
// elsewhere.
func deployWith(command string) string {
	if strings.HasPrefix(command, "refship ") {
		return "deploy it on the git server with: " + command
	}
	return "deploy it with: " + command
}
